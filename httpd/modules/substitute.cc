// mod_substitute: the filter SUBSTITUTE. Source  httpd 2.4 manual, mod_substitute
#include <Poco/Exception.h>
#include <Poco/RegularExpression.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/http/ascii.h"
#include "httpd/modules/filters.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using net::BodySource;
using Regex = Poco::RegularExpression;
using Words = std::vector<std::string>;

struct Rule {
  std::shared_ptr<Regex> regex;  ///< null: `text` as it is
  std::string text;
  bool ignore_case = false;  ///< of `text`
  std::string replacement;
  bool flatten = true;
};
using Rules = std::vector<std::shared_ptr<const Rule>>;

struct SubstituteSettings final : config::ModuleSettings {
  std::shared_ptr<const Rules> rules = std::make_shared<const Rules>();  ///< shared with the bodies being sent
  std::optional<uint64_t> longest_line;
  std::optional<bool> inherit_before;

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const SubstituteSettings&>(other);
    auto out = std::make_unique<SubstituteSettings>(*this);
    if (inner.longest_line) out->longest_line = inner.longest_line;
    if (inner.inherit_before) out->inherit_before = inner.inherit_before;
    const bool outer_first = out->inherit_before.value_or(false);
    Rules merged = outer_first ? *rules : *inner.rules;
    const Rules& last = outer_first ? *inner.rules : *rules;
    merged.insert(merged.end(), last.begin(), last.end());
    out->rules = std::make_shared<const Rules>(std::move(merged));
    return out;
  }
};

constexpr uint64_t kLongestLine = 1U << 20;  // SubstituteMaxLineLength
constexpr uint64_t kLongestLineEver = 1U << 30;
constexpr size_t kInput = 32U << 10;

/// Up to the next `delimiter`, which may not be protected: as in Apache, the one who needs it chooses another.
std::optional<std::string> TakePart(std::string_view& rest, char delimiter) {
  const size_t end = rest.find(delimiter);
  if (end == std::string_view::npos) return std::nullopt;
  std::string out(rest.substr(0, end));
  rest.remove_prefix(end + 1);
  return out;
}

Complaint Substitute(config::Builder&, Scope& scope, const Node&, const Words& words) {
  static constexpr char kIncomplete[] = "Bad Substitute format, must be a complete s/// pattern";
  std::string_view rest = words[0];
  if (rest.empty() || http::Lower(rest[0]) != 's') return "Bad Substitute format, must be an s/// pattern";
  rest.remove_prefix(1);
  if (rest.empty()) return kIncomplete;
  const char delimiter = rest[0];
  rest.remove_prefix(1);
  const auto pattern = TakePart(rest, delimiter);
  const auto replacement = pattern ? TakePart(rest, delimiter) : std::nullopt;
  if (!replacement || pattern->empty()) return kIncomplete;
  Rule rule;
  rule.replacement = *replacement;
  bool is_text = false;
  for (const char flag : rest) {
    switch (http::Lower(flag)) {
      case 'i':
        rule.ignore_case = true;
        break;
      case 'n':
        is_text = true;
        break;
      case 'f':
        rule.flatten = true;
        break;
      case 'q':
        rule.flatten = false;
        break;
      default:
        return "Bad Substitute flag, only s///[infq] are supported";
    }
  }
  if (is_text) {
    rule.text = *pattern;
  } else {
    auto regex = CompileRegex(*pattern, rule.ignore_case);
    if (!regex) return "Substitute could not compile regex";
    rule.regex = std::move(regex).value();
  }
  auto& settings = config::SettingsOf<SubstituteSettings>(scope);
  Rules rules = *settings.rules;
  rules.push_back(std::make_shared<const Rule>(std::move(rule)));
  settings.rules = std::make_shared<const Rules>(std::move(rules));
  return std::nullopt;
}

Complaint SetLongestLine(config::Builder&, Scope& scope, const Node&, const Words& words) {
  static constexpr char kBad[] =
      "SubstituteMaxLineLength must be a non-negative integer optionally suffixed with 'b', 'k', 'm' or 'g'.";
  const std::string& word = words[0];
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error == std::errc::result_out_of_range) return "SubstituteMaxLineLength value too large";
  if (error != std::errc()) return kBad;
  const std::string_view unit(end, static_cast<size_t>(word.data() + word.size() - end));
  int shift = 0;
  if (unit.size() > 1) return kBad;
  if (!unit.empty()) {
    const size_t which = std::string_view("bkmg").find(http::Lower(unit[0]));
    if (which == std::string_view::npos) return kBad;
    shift = static_cast<int>(which) * 10;
  }
  // A line is held in memory as a whole, for every client that is being answered.
  if (value > (kLongestLineEver >> shift)) return "SubstituteMaxLineLength value too large";
  config::SettingsOf<SubstituteSettings>(scope).longest_line = value << shift;
  return std::nullopt;
}

Complaint SetInheritBefore(config::Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<SubstituteSettings>(scope).inherit_before = http::EqualsIgnoreCase(words[0], "on");
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  static constexpr char kModule[] = "mod_substitute.c";
  constexpr unsigned kContexts = config::kAnywhere | config::kOverrideFileInfo;
  static const std::vector<config::Directive> table = {
      {"Substitute", kModule, kContexts, Arity::kOne, "Pattern to filter the response content (s/foo/bar/[inf])",
       OnRead::kNo, Substitute, "s/pattern/substitution/[infq]", "",
       "For answers that go through the filter SUBSTITUTE. Patterns see one line at a time, its line end included; i "
       "ignores case, n takes the pattern as plain text, q keeps later patterns from matching across what this one "
       "replaced. The substitution may say $0 to $9. ^ matches at the beginning of a line only, and a pattern that "
       "matches nothing (x*) is no error: both differ from Apache. Content that is compressed already is left alone."},
      {"SubstituteMaxLineLength", kModule, kContexts, Arity::kOne, "Maximum line length", OnRead::kNo, SetLongestLine,
       "bytes[b|k|m|g]", "1m",
       "A longer line, before or after a substitution, ends the answer: 500, or a closed connection when the client "
       "has "
       "the head already. At most 1g."},
      {"SubstituteInheritBefore", kModule, kContexts, Arity::kFlag,
       "Apply inherited patterns before those of the current context", OnRead::kNo, SetInheritBefore, "on|off", "off",
       ""},
  };
  return table;
}

/// The replacement with $0 to $9 in it. Source  server/util.c ap_pregsub
void AppendExpanded(const Rule& rule, const std::string& subject, const Regex::MatchVec& groups, std::string& out) {
  const std::string& text = rule.replacement;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = i + 1 < text.size() ? text[i + 1] : '\0';
    if (text[i] == '\\' && next != '\0') {
      out += text[++i];
    } else if (text[i] == '$' && next >= '0' && next <= '9') {
      const auto group = static_cast<size_t>(text[++i] - '0');
      if (group < groups.size() && groups[group].offset != std::string::npos) {
        out.append(subject, groups[group].offset, groups[group].length);
      }
    } else {
      out += text[i];
    }
  }
}

class SubstituteSource final : public BodySource {
 public:
  SubstituteSource(const RequestState& state, std::unique_ptr<BodySource> inner, std::shared_ptr<const Rules> rules,
                   uint64_t longest)
      : log_(state, "substitute"),
        path_(state.path),
        inner_(std::move(inner)),
        rules_(std::move(rules)),
        longest_(longest) {}

  State Read(std::string& out, size_t) override {
    const State state = inner_->Read(pending_, kInput);
    if (state == State::kFailed) return State::kFailed;
    const size_t before = out.size();
    size_t start = 0;
    for (size_t end = pending_.find('\n', searched_); end != std::string::npos; end = pending_.find('\n', start)) {
      if (!Change(pending_.substr(start, end + 1 - start), out)) return Fail();
      start = end + 1;
    }
    pending_.erase(0, start);
    searched_ = pending_.size();
    if (pending_.size() > longest_) return Fail();
    if (state == State::kWait) return out.size() > before ? State::kMore : State::kWait;
    if (state != State::kEnd) return State::kMore;
    if (!pending_.empty() && !Change(std::exchange(pending_, {}), out)) return Fail();
    return State::kEnd;
  }

 private:
  State Fail() {
    log_.Write(config::LogLevel::kError, "AH01328: Line too long, URI " + path_);
    return State::kFailed;
  }

  /// One line through all rules. @return false: it is, or has become, too long, or a pattern gave up
  bool Change(std::string line, std::string& out) {
    if (line.size() > longest_) return false;
    pieces_.clear();
    pieces_.push_back(std::move(line));
    for (const auto& rule : *rules_) {
      for (size_t i = 0; i < pieces_.size();) {
        changed_.clear();
        if (!Apply(*rule, pieces_[i])) return false;
        if (changed_.empty()) {
          ++i;
          continue;
        }
        const auto at = pieces_.erase(pieces_.begin() + static_cast<std::ptrdiff_t>(i));
        pieces_.insert(at, changed_.begin(), changed_.end());
        i += changed_.size();
      }
    }
    for (const std::string& piece : pieces_) out += piece;
    return true;
  }

  /// What `piece` becomes, in `changed_`; left empty when the rule does not match.
  bool Apply(const Rule& rule, const std::string& piece) {
    size_t done = 0;
    size_t from = 0;
    size_t made = 0;
    while (from <= piece.size()) {
      size_t at = 0;
      size_t length = 0;
      if (!Find(rule, piece, from, at, length)) break;
      if (changed_.empty()) changed_.emplace_back();
      changed_.back().append(piece, done, at - done);
      if (!rule.flatten) changed_.emplace_back();
      const size_t before = changed_.back().size();
      if (rule.regex) {
        AppendExpanded(rule, piece, groups_, changed_.back());
      } else {
        changed_.back() += rule.replacement;
      }
      made += changed_.back().size() - before;
      if (made > longest_) return false;
      if (!rule.flatten) changed_.emplace_back();
      done = at + length;
      from = length == 0 ? done + 1 : done;
    }
    if (failed_) return false;
    if (!changed_.empty()) changed_.back().append(piece, done);
    size_t total = 0;
    for (const std::string& part : changed_) total += part.size();
    return total <= longest_;
  }

  /// The next match at or behind `from`. @return false: none, or the pattern gave up (`failed_`)
  bool Find(const Rule& rule, const std::string& piece, size_t from, size_t& at, size_t& length) {
    if (!rule.regex) {
      const auto found = rule.ignore_case ? std::search(piece.begin() + static_cast<std::ptrdiff_t>(from), piece.end(),
                                                        rule.text.begin(), rule.text.end(),
                                                        [](char a, char b) { return http::Lower(a) == http::Lower(b); })
                                          : std::search(piece.begin() + static_cast<std::ptrdiff_t>(from), piece.end(),
                                                        rule.text.begin(), rule.text.end());
      if (found == piece.end()) return false;
      at = static_cast<size_t>(found - piece.begin());
      length = rule.text.size();
      return true;
    }
    try {
      if (rule.regex->match(piece, from, groups_) == 0) return false;
    } catch (const Poco::Exception&) {  // PCRE's limit on the work of one match
      failed_ = true;
      return false;
    }
    at = groups_[0].offset;
    length = groups_[0].length;
    return at < piece.size() || !piece.ends_with('\n');  // an empty match behind a line end is on the next line
  }

  LaterLog log_;
  std::string path_;
  std::unique_ptr<BodySource> inner_;
  std::shared_ptr<const Rules> rules_;
  uint64_t longest_;
  std::string pending_;
  size_t searched_ = 0;  ///< of `pending_`: no line end before it
  std::vector<std::string> pieces_;
  std::vector<std::string> changed_;
  Regex::MatchVec groups_;
  bool failed_ = false;
};

bool MaySubstitute(const RequestState& state, const FilterView& view) {
  const auto* settings = SettingsFor<SubstituteSettings>(state);
  return settings && !settings->rules->empty() && !view.is_coded();
}

std::unique_ptr<BodySource> Substituted(RequestState& state, std::unique_ptr<BodySource> body) {
  const auto* settings = SettingsFor<SubstituteSettings>(state);
  return std::make_unique<SubstituteSource>(state, std::move(body), settings->rules,
                                            settings->longest_line.value_or(kLongestLine));
}

}  // namespace

const OutputFilter kSubstituteFilter = {
    .name = "SUBSTITUTE", .type = FilterType::kResource, .applies = MaySubstitute, .wrap = Substituted};

const Module kSubstitute = {.name = {"mod_substitute.c", "substitute_module"},
                            .directives = Directives,
                            .applies = HasSettings<SubstituteSettings>};

}  // namespace httpd::modules
