#include "httpd/modules/negotiation_select.h"

#include <algorithm>
#include <cfloat>
#include <cstdio>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"

namespace httpd::modules::negotiation {

namespace {

constexpr size_t kMaxItems = 200;
constexpr std::string_view kProgram = "application/x-httpd-cgi";
constexpr std::string_view kParsed = "text/x-server-parsed-html";
constexpr std::string_view kParsed3 = "text/x-server-parsed-html3";

bool IsSpace(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

void SkipSpace(std::string_view& text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
}

/// Up to a ';' or ',' outside quotes, or (unless `with_space`) white space; what follows is skipped up to the next
/// text.
std::string_view TakeToken(std::string_view& text, bool with_space) {
  SkipSpace(text);
  size_t end = 0;
  while (end < text.size() && text[end] != ';' && text[end] != ',' && (with_space || !IsSpace(text[end]))) {
    if (text[end] == '"') end = std::min(text.find('"', end + 1), text.size() - 1);
    ++end;
  }
  std::string_view token = text.substr(0, end);
  text.remove_prefix(end);
  SkipSpace(text);
  while (!token.empty() && IsSpace(token.back())) token.remove_suffix(1);
  return token;
}

std::string LowerText(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), http::Lower);
  return out;
}

/// 0, 0.5, .123; whatever else is 1.
float Quality(std::string_view text) {
  if (text.empty()) return 1.0F;
  if (text.front() != '.') {
    if (text.front() != '0') return 1.0F;
    text.remove_prefix(1);
  }
  if (!text.starts_with('.')) return 0.0F;
  int thousandths = 0;
  int weight = 100;
  for (const char c : text.substr(1, 3)) {
    if (c < '0' || c > '9') break;
    thousandths += (c - '0') * weight;
    weight /= 10;
  }
  return static_cast<float>(thousandths) / 1000.0F;
}

AcceptItem TakeItem(std::string_view& text) {
  AcceptItem item;
  item.name = LowerText(TakeToken(text, false));
  // Source  mod_negotiation: HTML is of level 2 unless it says otherwise
  if (item.name == "text/html" || item.name == kParsed) item.level = 2.0F;
  if (item.name == kParsed3) item.level = 3.0F;
  while (text.starts_with(';')) {
    text.remove_prefix(1);
    const std::string parameter = LowerText(TakeToken(text, true));
    const size_t name_end = parameter.find_first_of("= \t");
    if (name_end == std::string::npos) continue;
    const std::string_view name = std::string_view(parameter).substr(0, name_end);
    std::string_view value = std::string_view(parameter).substr(name_end);
    while (!value.empty() && (IsSpace(value.front()) || value.front() == '=')) value.remove_prefix(1);
    if (value.starts_with('"')) {
      value.remove_prefix(1);
      value = value.substr(0, value.find('"'));
    } else {
      value = value.substr(0, value.find_first_of(" \t"));
    }
    if (name == "q" || name == "qs") item.quality = Quality(value);
    if (name == "level") item.level = static_cast<float>(std::atoi(std::string(value.substr(0, 4)).c_str()));
    if (name == "charset") item.charset = value;
  }
  if (text.starts_with(',')) text.remove_prefix(1);
  return item;
}

std::string_view WithoutX(std::string_view coding) {
  if (coding.starts_with("x-")) coding.remove_prefix(2);
  return coding;
}

bool IsIdentity(std::string_view coding) {
  return coding.empty() || coding == "7bit" || coding == "8bit" || coding == "binary";
}

std::string Listed(const std::vector<std::string>& languages) {
  std::string out;
  for (const std::string& language : languages) out.append(out.empty() ? "" : ",").append(language);
  return out;
}

/// Whether the item is for the variant's type; notes how well, and only once better than before.
bool Matches(const AcceptItem& item, Variant& variant) {
  const std::string& name = item.name;
  if (name == "*" || name == "*/*") {
    variant.stars = std::max(variant.stars, 1);
    return true;
  }
  if (name.size() > 2 && name.ends_with("/*") &&
      variant.media_type.starts_with(std::string_view(name).substr(0, name.size() - 1))) {
    variant.stars = std::max(variant.stars, 2);
    return true;
  }
  if (name == variant.media_type || (name == "text/html" && variant.is_html())) {
    if (item.level >= variant.level) {
      variant.level_matched = variant.level;
      variant.stars = 3;
      return true;
    }
  }
  return false;
}

/// 1: `a` is to be preferred, -1: `b`. Only the same kind of document has comparable levels.
int CompareLevels(const Variant& a, const Variant& b) {
  if (a.is_html() != b.is_html() || (!a.is_html() && a.media_type != b.media_type)) return 0;
  if (a.level_matched != b.level_matched) return a.level_matched > b.level_matched ? 1 : -1;
  if (a.level != b.level) return a.level < b.level ? 1 : -1;
  return 0;
}

int64_t LengthOf(const Variant& variant) {
  return variant.bytes.value_or(-1);
}

std::string EscapedName(const std::string& name) {
  return http::EscapePath("/" + name).substr(1);
}

}  // namespace

std::optional<std::vector<AcceptItem>> ParseAccept(std::string_view text) {
  if (text.data() == nullptr) return std::nullopt;
  std::vector<AcceptItem> out;
  while (!text.empty() && out.size() < kMaxItems) {
    const size_t before = text.size();
    out.push_back(TakeItem(text));
    if (text.size() == before) break;
  }
  return out;
}

AcceptItem ParseType(std::string_view text) {
  return TakeItem(text);
}

bool Variant::is_html() const {
  return media_type == "text/html" || media_type == kParsed || media_type == kParsed3;
}

void Variant::SetType(std::string_view content_type) {
  AcceptItem item = ParseType(content_type);
  media_type = std::move(item.name);
  charset = std::move(item.charset);
  source_quality = item.quality;
  level = item.level;
}

Negotiation::Negotiation(const Fields& fields)
    : accept_(ParseAccept(fields.accept)),
      language_(ParseAccept(fields.language)),
      encoding_(ParseAccept(fields.encoding)),
      charset_(ParseAccept(fields.charset)),
      negotiate_(fields.negotiate),
      user_agent_(fields.user_agent),
      has_negotiate_(fields.negotiate.data() != nullptr) {
  if (accept_) {
    says_quality_ = std::any_of(accept_->begin(), accept_->end(), [](const auto& item) { return item.quality < 1.0F; });
  }
}

void Negotiation::ReadNegotiate() {
  if (!has_negotiate_) return;
  if (negotiate_ == "trans" && user_agent_.starts_with("Lynx")) return;  // it says so without meaning it
  may_choose_ = false;
  for (std::string_view rest = negotiate_; !rest.empty();) {
    const size_t comma = std::min(rest.find(','), rest.size());
    std::string_view word = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    SkipSpace(word);
    while (!word.empty() && IsSpace(word.back())) word.remove_suffix(1);
    if (word != "trans" && word != "vlist" && word != "guess-small" && word != "*" &&
        (word.empty() || word.front() < '0' || word.front() > '9')) {
      continue;
    }
    supports_transparent_ = true;
    send_alternates_ = true;
    if (word == "1.0") {
      may_choose_ = true;
      remote_rules_ = true;
      takes_literally_ = true;
    } else if (word == "*") {
      may_choose_ = true;
      takes_literally_ = true;
    }
  }
}

void Negotiation::AddDefaultAccepts(bool prefer_scripts) {
  if (!accept_) accept_ = std::vector<AcceptItem>{{"*/*", 1.0F, 0.0F, ""}};
  float quality = prefer_scripts ? 2.0F : FLT_MIN;
  if (remote_rules_) quality = 0.0F;
  accept_->push_back({std::string(kProgram), quality, 0.0F, ""});
}

void Negotiation::RateType(Variant& variant) const {
  variant.stars = 0;
  float quality = 0.0F;
  bool definite = true;
  for (const AcceptItem& item : *accept_) {
    const int before = variant.stars;
    if (!Matches(item, variant) || variant.stars == before) continue;
    const bool lowers = !takes_literally_ && !says_quality_;
    if (lowers && variant.stars == 1) {
      quality = 0.01F;
    } else if (lowers && variant.stars == 2) {
      quality = 0.02F;
    } else {
      quality = item.quality;
    }
    definite = variant.stars == 3;
  }
  variant.type_quality = quality;
  variant.is_definite = variant.is_definite && definite;
}

void Negotiation::RateLanguage(Variant& variant) const {
  if (variant.languages.empty()) {
    if (!takes_literally_) variant.lang_quality = no_language_quality_;
    return;
  }
  if (!language_) {
    variant.is_definite = false;
  } else {
    const AcceptItem* best = nullptr;
    const AcceptItem* star = nullptr;
    float related = 0.0F;
    bool any_on_star = false;
    for (const std::string& tag : variant.languages) {
      const AcceptItem* longest = nullptr;
      for (const AcceptItem& item : *language_) {
        const std::string& range = item.name;
        if (range == "*") {
          if (!star) star = &item;
          continue;
        }
        if (tag.starts_with(range) && (tag.size() == range.size() || tag[range.size()] == '-') &&
            range.size() > (longest ? longest->name.size() : 0)) {
          longest = &item;
        }
        // en-US is no reason to refuse en: better than nothing.
        const size_t dash = range.find('-');
        if (!longest && !takes_literally_ && dash != std::string::npos &&
            tag.starts_with(std::string_view(range).substr(0, dash))) {
          related = 0.001F;
        }
      }
      if (!best || (longest && longest->quality > best->quality)) best = longest;
      if (!longest && star) any_on_star = true;
    }
    if (any_on_star && (!best || star->quality > best->quality)) {
      best = star;
      variant.is_definite = false;
    }
    variant.lang_quality = best ? best->quality : related;
  }
  ForceLanguage(variant);
}

void Negotiation::ForceLanguage(Variant& variant) const {
  const bool prefers = (force & kForcePrefer) != 0 && variant.lang_index < 0;
  const bool falls_back = (force & kForceFallback) != 0 && variant.lang_quality == 0.0F;
  if (!prefers && !falls_back) return;
  int index = -1;
  for (const std::string& tag : variant.languages) {
    for (size_t i = 0; i < priority.size(); ++i) {
      if (!http::EqualsIgnoreCase(priority[i], tag)) continue;
      if (index < 0 || static_cast<int>(i) < index) index = static_cast<int>(i);
      break;
    }
  }
  if (index < 0) return;
  if (variant.lang_quality != 0.0F) {
    if ((force & kForcePrefer) != 0) variant.lang_index = index;
  } else if ((force & kForceFallback) != 0) {
    variant.lang_index = index;
    variant.lang_quality = 0.0001F;
    variant.is_definite = false;
  }
}

void Negotiation::RateEncoding(Variant& variant) const {
  const bool is_identity = IsIdentity(variant.encoding);
  if (!encoding_) {
    variant.encoding_quality = is_identity ? 1.0F : 0.5F;
    return;
  }
  const std::string_view wanted = is_identity ? "identity" : WithoutX(variant.encoding);
  const AcceptItem* star = nullptr;
  for (const AcceptItem& item : *encoding_) {
    if (WithoutX(item.name) == wanted) {
      variant.encoding_quality = item.quality;
      return;
    }
    if (item.name == "*") star = &item;
  }
  variant.encoding_quality = star ? star->quality : is_identity ? 0.0001F : 0.0F;
}

void Negotiation::RateCharset(Variant& variant) const {
  std::string_view charset = variant.charset;
  if (!charset_) {
    if (!charset.empty()) variant.is_definite = false;
    return;
  }
  if (charset.empty()) {
    if (takes_literally_ || (!variant.media_type.starts_with("text/") && !variant.is_html())) return;
    charset = "iso-8859-1";
  }
  const AcceptItem* star = nullptr;
  for (const AcceptItem& item : *charset_) {
    if (item.name == charset) {
      variant.charset_quality = item.quality;
      return;
    }
    if (item.name == "*") star = &item;
  }
  if (star) {
    variant.charset_quality = star->quality;
    variant.is_definite = false;
    return;
  }
  variant.charset_quality = charset == "iso-8859-1" ? 1.0F : 0.0F;
}

bool Negotiation::IsBetterRemotely(const Variant& variant, const Variant* best, float& best_quality) const {
  if (variant.encoding_quality == 0.0F) return false;
  const float quality = variant.type_quality * variant.source_quality * variant.charset_quality * variant.lang_quality;
  if (quality <= 0.0F || quality < best_quality) return false;
  if (quality == best_quality && (!best || variant.encoding_quality <= best->encoding_quality)) return false;
  best_quality = quality;
  return true;
}

/// Type times qs, then language, LanguagePriority, level, charset, encoding, length: the first that differs decides.
bool Negotiation::IsBetter(const Variant& variant, const Variant* best, float& best_quality) const {
  if (variant.encoding_quality == 0.0F || variant.lang_quality == 0.0F || variant.source_quality == 0.0F ||
      variant.charset_quality == 0.0F || variant.type_quality == 0.0F) {
    return false;
  }
  const float quality = variant.type_quality * variant.source_quality;
  if (quality == 0.0F || quality < best_quality) return false;
  const bool better = [&] {
    if (quality > best_quality || !best) return true;
    if (variant.lang_quality != best->lang_quality) return variant.lang_quality > best->lang_quality;
    if (variant.lang_index != best->lang_index) {
      if (variant.lang_index < 0 || best->lang_index < 0) return best->lang_index < 0;
      return variant.lang_index < best->lang_index;
    }
    if (const int levels = CompareLevels(variant, *best); levels != 0) return levels > 0;
    if (variant.charset_quality != best->charset_quality) return variant.charset_quality > best->charset_quality;
    const auto is_latin = [](const Variant& v) { return v.charset.empty() || v.charset == "iso-8859-1"; };
    if (!is_latin(variant) && is_latin(*best)) return true;
    if (variant.encoding_quality != best->encoding_quality) return variant.encoding_quality > best->encoding_quality;
    return LengthOf(variant) < LengthOf(*best);
  }();
  if (better) best_quality = quality;
  return better;
}

Variant* Negotiation::BestMatch(const std::string* language) {
  Variant* best = nullptr;
  float best_quality = 0.0F;
  for (Variant& variant : variants) {
    const bool is_preferred =
        language && std::find(variant.languages.begin(), variant.languages.end(), *language) != variant.languages.end();
    if (language && !is_preferred) continue;  // for now
    RateType(variant);
    if (is_preferred) {
      variant.lang_quality = 1.0F;
      variant.is_definite = true;
    } else {
      RateLanguage(variant);
    }
    RateEncoding(variant);
    RateCharset(variant);
    if (!may_choose_) continue;
    if (remote_rules_ ? IsBetterRemotely(variant, best, best_quality) : IsBetter(variant, best, best_quality)) {
      best = &variant;
    }
  }
  if (best_quality <= 0.0F || (remote_rules_ && best && !best->is_definite)) return nullptr;
  return best;
}

Variant* Negotiation::Choose(bool is_get, bool has_path_info, bool prefer_scripts) {
  is_transparent_ = is_get && !has_path_info && std::none_of(variants.begin(), variants.end(), [](const Variant& v) {
                      return v.has_body || v.file_name.find('/') != std::string::npos;
                    });
  if (is_transparent_) ReadNegotiate();
  AddDefaultAccepts(prefer_scripts);
  no_language_quality_ = 1.0F;
  if (!takes_literally_ &&
      std::any_of(variants.begin(), variants.end(), [](const Variant& v) { return !v.languages.empty(); })) {
    no_language_quality_ = 0.0001F;
  }
  Variant* best = preferred_language.empty() ? nullptr : BestMatch(&preferred_language);
  if (!best) best = BestMatch(nullptr);
  if (!best) send_alternates_ = true;
  return best;
}

std::string Negotiation::Vary() const {
  const auto differs = [this](auto member) {
    return std::any_of(variants.begin(), variants.end(),
                       [&](const Variant& v) { return v.*member != variants.front().*member; });
  };
  std::string out;
  const auto add = [&out](bool varies, const char* field) {
    if (varies) out.append(out.empty() ? "" : ",").append(field);
  };
  add(is_transparent_, "negotiate");
  add(differs(&Variant::media_type), "accept");
  add(differs(&Variant::languages), "accept-language");
  add(differs(&Variant::charset), "accept-charset");
  add(differs(&Variant::encoding), "accept-encoding");
  return out;
}

std::string Negotiation::Alternates() const {
  if (!send_alternates_) return "";
  std::string out;
  for (const Variant& variant : variants) {
    char quality[16];
    std::snprintf(quality, sizeof quality, "%1.3f", static_cast<double>(variant.source_quality));
    std::string digits(quality);
    while (digits.back() == '0') digits.pop_back();
    if (digits.back() == '.') digits.pop_back();
    out += out.empty() ? "{\"" : ", {\"";
    out += EscapedName(variant.file_name) + "\" " + digits;
    const auto add = [&out](const char* name, const std::string& value) {
      if (!value.empty()) out.append(" {").append(name).append(" ").append(value).append("}");
    };
    add("type", variant.media_type);
    add("charset", variant.charset);
    add("language", Listed(variant.languages));
    add("encoding", variant.encoding);
    if (!variant.has_handler && variant.bytes) add("length", std::to_string(*variant.bytes));
    out += "}";
  }
  return out;
}

std::string Negotiation::ListHtml() const {
  std::string out = "Available variants:\n<ul>\n";
  for (const Variant& variant : variants) {
    out += "<li><a href=\"" + http::EscapeHtml(EscapedName(variant.file_name)) + "\">" +
           http::EscapeHtml(variant.file_name) + "</a> " + http::EscapeHtml(variant.description);
    const auto add = [&out](const char* name, const std::string& value) {
      if (!value.empty()) out.append(", ").append(name).append(" ").append(http::EscapeHtml(value));
    };
    add("type", variant.media_type);
    add("language", Listed(variant.languages));
    add("charset", variant.charset);
    add("encoding", variant.encoding);
    out += "</li>\n";
  }
  return out + "</ul>\n";
}

}  // namespace httpd::modules::negotiation
