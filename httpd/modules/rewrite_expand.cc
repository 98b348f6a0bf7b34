// Texts of mod_rewrite: URLs, variables, back-references, maps. Source  httpd 2.4 manual, mod_rewrite
#include <algorithm>
#include <random>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/module.h"
#include "httpd/modules/request_variables.h"
#include "httpd/modules/rewrite.h"
#include "httpd/modules/ssl.h"

namespace httpd::modules::rewrite {

namespace {

constexpr int kDeepest = 20;
constexpr size_t kLongest = 1U << 20;  ///< of one expanded text: maps in maps must not grow without end

void AppendEscaped(unsigned char c, std::string& out) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out += '%';
  out += kDigits[c >> 4];
  out += kDigits[c & 15];
}

/// As far as it is valid; what is not stays as it is, and so does %00.
std::string Unescaped(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? http::HexValue(text[i + 1]) : -1;
    const int low = high >= 0 ? http::HexValue(text[i + 2]) : -1;
    if (low >= 0 && high + low > 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

/// B, BCTLS, BNE, BNP
std::string EscapedGroup(std::string_view text, const Rule& rule) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    bool escape = false;
    if (rule.Has(Rule::kEscapeControls) && rule.escapes.empty()) {
      escape = byte <= ' ' || byte == 127;
    } else if (rule.escapes.empty()) {
      escape = !http::IsDigit(c) && !(http::Lower(c) >= 'a' && http::Lower(c) <= 'z') && c != '_';
    } else {
      escape = rule.escapes.find(c) != std::string::npos ||
               (rule.Has(Rule::kEscapeControls) && (byte <= ' ' || byte == 127));
    }
    if (!escape || rule.no_escapes.find(c) != std::string::npos) {
      out += c;
    } else if (c == ' ' && !rule.Has(Rule::kEscapeNoPlus)) {
      out += '+';
    } else {
      AppendEscaped(byte, out);
    }
  }
  return out;
}

/// Position of the brace that closes what was opened before `at`; npos: none.
size_t ClosingBrace(std::string_view text, size_t at) {
  int depth = 1;
  for (; at < text.size(); ++at) {
    if (text[at] == '}' && --depth == 0) return at;
    if (text[at] == '{') ++depth;
  }
  return std::string_view::npos;
}

/// Position of `c` outside inner braces; npos: none.
size_t FindOutsideBraces(std::string_view text, char c) {
  int depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    if (text[at] == c && depth == 0) return at;
    if (text[at] == '{') ++depth;
    if (text[at] == '}') --depth;
  }
  return std::string_view::npos;
}

std::string OneOf(const std::string& values) {
  const auto count = static_cast<size_t>(std::count(values.begin(), values.end(), '|'));
  if (count == 0) return values;
  thread_local std::minstd_rand random{std::random_device{}()};
  size_t skip = std::uniform_int_distribution<size_t>(0, count)(random);
  size_t begin = 0;
  while (skip-- > 0) begin = values.find('|', begin) + 1;
  return values.substr(begin, std::min(values.find('|', begin), values.size()) - begin);
}

}  // namespace

size_t SchemeLength(std::string_view uri, bool* has_query) {
  struct Scheme {
    std::string_view text;
    bool has_query;
  };
  static constexpr Scheme kSchemes[] = {
      {"http://", true},     {"https://", true},  {"mailto:", true},    {"ftp://", false},  {"ajp://", true},
      {"balancer://", true}, {"fcgi://", true},   {"gopher://", false}, {"h2://", true},    {"h2c://", true},
      {"ldap://", false},    {"ldaps://", false}, {"news:", false},     {"nntp://", false}, {"scgi://", true},
      {"uwsgi://", true},    {"unix:", true},     {"ws://", true},      {"wss://", true}};
  if (has_query) *has_query = false;
  if (uri.starts_with('/')) return 0;
  for (const Scheme& scheme : kSchemes) {
    if (!http::EqualsIgnoreCase(uri.substr(0, scheme.text.size()), scheme.text)) continue;
    if (has_query) *has_query = scheme.has_query;
    return scheme.text.size();
  }
  return 0;
}

std::string EscapeUri(std::string_view text) {
  return http::EscapePath("/" + std::string(text)).substr(1);
}

std::string WithPrefix(const std::string& path, std::string_view match, std::string_view subst) {
  if (match.ends_with('/')) match.remove_suffix(1);
  if (!path.starts_with(match) || path.size() <= match.size() || path[match.size()] != '/') return path;
  std::string out(subst);
  if (!out.empty() && !out.ends_with('/')) out += '/';
  return out.append(path, match.size() + 1);
}

void Pass::Groups::Set(const std::string& subject, const Poco::RegularExpression::MatchVec& groups) {
  Clear();
  source = subject;
  for (size_t i = 0; i < groups.size() && i < at.size(); ++i) {
    if (groups[i].offset != std::string::npos) at[i] = {groups[i].offset, groups[i].length};
  }
}

std::string Pass::Expand(std::string_view text, const Rule* rule, bool* unsafe_question_mark) {
  std::string out;
  if (depth_ >= kDeepest) return out;
  ++depth_;
  bool seen_question_mark = false;
  const auto append = [&](std::string_view value, bool from_request) {
    if (!seen_question_mark && value.find('?') != std::string_view::npos) {
      seen_question_mark = true;
      if (from_request && unsafe_question_mark) *unsafe_question_mark = true;
    }
    out += value;
  };
  for (size_t i = 0; i < text.size() && out.size() < kLongest;) {
    const char c = text[i];
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (c == '\\') {
      append(text.substr(next == '\0' ? i : i + 1, 1), false);
      i += 2;
    } else if ((c == '$' || c == '%') && next == '{') {
      const size_t end = ClosingBrace(text, i + 2);
      const std::string_view inside = end == std::string_view::npos ? "" : text.substr(i + 2, end - i - 2);
      const size_t colon = c == '$' ? FindOutsideBraces(inside, ':') : 0;
      if (end == std::string_view::npos || colon == std::string_view::npos) {
        append(text.substr(i, 2), false);
        i += 2;
        continue;
      }
      i = end + 1;
      if (c == '%') {
        append(Variable(std::string(inside)), true);
        continue;
      }
      const std::string_view rest = inside.substr(colon + 1);
      const size_t bar = FindOutsideBraces(rest, '|');
      const auto value = FromMap(std::string(inside.substr(0, colon)), Expand(rest.substr(0, bar), rule, nullptr));
      if (value && !value->empty()) {
        append(*value, true);
      } else if (bar != std::string_view::npos) {
        append(Expand(rest.substr(bar + 1), rule, nullptr), false);
      }
    } else if ((c == '$' || c == '%') && http::IsDigit(next)) {
      const std::string_view group = (c == '$' ? rule_groups_ : condition_groups_).Get(static_cast<size_t>(next - '0'));
      if (rule && rule->Has(Rule::kEscape)) {
        append(EscapedGroup(group, *rule), true);
      } else {
        append(group, true);
      }
      i += 2;
    } else {
      const size_t end = std::min(text.find_first_of("\\$%", i + 1), text.size());
      append(text.substr(i, end - i), false);
      i = end;
    }
  }
  --depth_;
  return out;
}

bool Pass::MayLookUp() const {
  // A look-up of the same URL would ask for itself again.
  int depth = 0;
  for (const RequestState* up = state_.parent; up; up = up->parent) {
    if (up->path == state_.path || ++depth >= 3) return false;
  }
  return true;
}

std::string Pass::LookAhead(const std::string& name, bool is_file) {
  if (!MayLookUp()) return "";
  std::string path = uri_;
  const bool by_url = !is_file || !directory_ || path.starts_with('/');
  if (directory_ && !path.starts_with('/')) {
    path = (is_file ? directory_->directory : directory_->base.value_or(directory_->directory)) + path;
  }
  const auto found = by_url && (!is_file || directory_) ? state_.engine->LookUp(state_, path)
                                                        : state_.engine->LookUpFile(state_, path);
  std::string value = VariableOf(*found, name);
  if (traces_) Log(config::LogLevel::kTrace5, "lookahead: path=" + path + " var=" + name + " -> val=" + value);
  return value;
}

std::string Pass::Variable(const std::string& name) {
  const std::string_view view = name;
  const auto starts = [&](std::string_view prefix) {
    return http::EqualsIgnoreCase(view.substr(0, prefix.size()), prefix);
  };
  if (starts("LA-U:") || starts("LA-F:")) return name.size() > 5 ? LookAhead(name.substr(5), starts("LA-F:")) : "";
  if (http::EqualsIgnoreCase(view, "REQUEST_FILENAME") || http::EqualsIgnoreCase(view, "SCRIPT_FILENAME")) return file;
  if (starts("ENV:")) return EnvironmentValue(state_, name.substr(4));
  if (starts("SSL:")) return SslVariable(state_, view.substr(4));
  const RequestVariable* known = starts("HTTP:") ? nullptr : FindRequestVariable(view);
  const std::string_view field = starts("HTTP:") ? view.substr(5) : known ? known->field : "";
  // Host is what every cache tells answers apart by anyway.
  if (!field.empty() && !http::EqualsIgnoreCase(field, "Host") && state_.Header(field).data() != nullptr) {
    if (!vary_this_.empty()) vary_this_ += ", ";
    vary_this_ += field;
  }
  if (starts("HTTP:")) return Joined(state_.head(), field);
  if (!known) return "";
  if (known->name == "SCRIPT_USER" || known->name == "SCRIPT_GROUP") {
    const std::string value = known->Of(state_);
    return value.empty() ? "<unknown>" : value;
  }
  if (known->name == "SERVER_ADMIN" && state_.host->host->server_admin.empty()) return "[no address given]";
  return known->Of(state_);
}

std::optional<std::string> Pass::FromMap(const std::string& name, const std::string& key) {
  if (!server_) return std::nullopt;
  const auto found = server_->maps.find(name);
  if (found == server_->maps.end()) return std::nullopt;
  const Map& map = found->second;
  std::string changed = key;
  switch (map.kind) {
    case Map::Kind::kToUpper:
      std::transform(changed.begin(), changed.end(), changed.begin(),
                     [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c; });
      return changed;
    case Map::Kind::kToLower:
      std::transform(changed.begin(), changed.end(), changed.begin(), http::Lower);
      return changed;
    case Map::Kind::kEscape:
      return EscapeUri(key);
    case Map::Kind::kUnescape:
      return Unescaped(key);
    case Map::Kind::kText:
    case Map::Kind::kRandom:
      break;
  }
  MapFile::Answer answer = map.file->Find(key);
  if (!answer.trouble.empty()) Log(config::LogLevel::kError, answer.trouble);
  if (traces_)
    Log(config::LogLevel::kTrace5, answer.value
                                       ? "map lookup OK: map=" + name + "[txt] key=" + key + " -> val=" + *answer.value
                                       : "map lookup FAILED: map=" + name + "[txt] key=" + key);
  if (answer.value && map.kind == Map::Kind::kRandom) return OneOf(*answer.value);
  return std::move(answer.value);
}

}  // namespace httpd::modules::rewrite
