// One pass through the rules. Source  httpd 2.4 manual, mod_rewrite, rewrite/tech.html
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <utility>

#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/module.h"
#include "httpd/modules/rewrite.h"

namespace httpd::modules::rewrite {

namespace {

using config::LogLevel;

/// Apache's order of texts: the longer one is the greater one.
int Compare(std::string_view a, std::string_view b, bool no_case) {
  if (a.size() != b.size()) return a.size() > b.size() ? 1 : -1;
  for (size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<unsigned char>(no_case ? http::Lower(a[i]) : a[i]);
    const auto y = static_cast<unsigned char>(no_case ? http::Lower(b[i]) : b[i]);
    if (x != y) return x > y ? 1 : -1;
  }
  return 0;
}

int CompareNumbers(const std::string& a, const std::string& b) {
  const long long x = std::strtoll(a.c_str(), nullptr, 10);
  const long long y = std::strtoll(b.c_str(), nullptr, 10);
  return x == y ? 0 : x > y ? 1 : -1;
}

/// What a cookie's attribute may say to be on.
bool IsSaid(const std::string& text, std::string_view name) {
  return http::EqualsIgnoreCase(text, "true") || text == "1" || http::EqualsIgnoreCase(text, name);
}

std::string CookieDate(std::time_t when) {
  std::tm parts{};
  ::gmtime_r(&when, &parts);
  char text[64];
  return std::string(text, std::strftime(text, sizeof text, "%a, %d-%b-%Y %H:%M:%S GMT", &parts));
}

bool HasControl(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](char c) { return (c >= 0 && c < ' ') || c == 127; });
}

/// Whether a line at a trace level would be written: LogLevel of the host or of the sections, also for rewrite alone.
bool IsTraced(const RequestState& state) {
  const log::ErrorLog* error_log = state.host->error_log.get();
  if (!error_log) return false;
  const config::LogLevels* here = state.settings ? &state.settings->log_levels : nullptr;
  if (!here || (!here->level && here->modules.empty())) return error_log->Wants(LogLevel::kTrace1, "rewrite");
  config::LogLevels levels = error_log->levels();
  levels.Merge(*here);
  return log::ErrorLog::Wants(LogLevel::kTrace1, "rewrite", levels);
}

}  // namespace

Pass::Pass(RequestState& state, const ServerSettings* server, const DirectorySettings* directory)
    : state_(state),
      server_(server),
      directory_(directory),
      traces_(IsTraced(state)),
      begin_(std::chrono::steady_clock::now()) {}

bool Pass::IsLate() {
  constexpr std::chrono::milliseconds kLongest{500};
  if (!is_late_ && ++steps_ % 16 == 0) is_late_ = std::chrono::steady_clock::now() - begin_ > kLongest;
  return is_late_;
}

void Pass::Log(LogLevel level, const std::string& text) const {
  state_.engine->LogError(
      state_, level, "rewrite",
      directory_ && level >= LogLevel::kTrace1 ? "[perdir " + directory_->directory + "] " + text : text);
}

bool Pass::Test(const Condition& condition, const std::string& input) {
  using Kind = Condition::Test;
  struct stat info {};
  const auto is_there = [&] { return input.find('\0') == std::string::npos && ::stat(input.c_str(), &info) == 0; };
  switch (condition.test) {
    case Kind::kRegex: {
      Poco::RegularExpression::MatchVec groups;
      if (!Finds(state_, *condition.regex, input, &groups)) return false;
      if (!condition.negated) condition_groups_.Set(input, groups);
      return true;
    }
    case Kind::kExpression:
      break;
    case Kind::kIsFile:
      return is_there() && S_ISREG(info.st_mode);
    case Kind::kHasSize:
      return is_there() && S_ISREG(info.st_mode) && info.st_size > 0;
    case Kind::kIsDirectory:
      return is_there() && S_ISDIR(info.st_mode);
    case Kind::kIsExecutable:
      return is_there() && (info.st_mode & (S_IXUSR | S_IXGRP | S_IXOTH)) != 0;
    case Kind::kIsLink:
      return ::lstat(input.c_str(), &info) == 0 && S_ISLNK(info.st_mode);
    case Kind::kLookUpUrl:
      return !input.empty() && MayLookUp() && state_.engine->LookUp(state_, input)->status < 400;
    case Kind::kLookUpFile: {
      if (input.empty() || !MayLookUp()) return false;
      const auto found = state_.engine->LookUpFile(state_, input);
      return found->status < 300 && found->exists();
    }
    case Kind::kLess:
      return Compare(input, condition.pattern, condition.no_case) < 0;
    case Kind::kLessOrEqual:
      return Compare(input, condition.pattern, condition.no_case) <= 0;
    case Kind::kEqual:
      return Compare(input, condition.pattern, condition.no_case) == 0;
    case Kind::kGreater:
      return Compare(input, condition.pattern, condition.no_case) > 0;
    case Kind::kGreaterOrEqual:
      return Compare(input, condition.pattern, condition.no_case) >= 0;
    case Kind::kNumberLess:
      return CompareNumbers(input, condition.pattern) < 0;
    case Kind::kNumberLessOrEqual:
      return CompareNumbers(input, condition.pattern) <= 0;
    case Kind::kNumberEqual:
      return CompareNumbers(input, condition.pattern) == 0;
    case Kind::kNumberNotEqual:
      return CompareNumbers(input, condition.pattern) != 0;
    case Kind::kNumberGreater:
      return CompareNumbers(input, condition.pattern) > 0;
    case Kind::kNumberGreaterOrEqual:
      return CompareNumbers(input, condition.pattern) >= 0;
  }
  ExpressionMatches matches;
  const ExpressionResult result = condition.expression->Evaluate(state_, &matches);
  vary_this_ = result.vary;
  if (result.failed || !result.holds) return false;
  if (!condition.negated && !matches.groups.empty()) {
    condition_groups_.Set(matches.subject, matches.groups);
  }
  return true;
}

bool Pass::Holds(const Condition& condition) {
  if (IsLate()) return false;
  const bool is_expression = condition.test == Condition::Test::kExpression;
  const std::string input = is_expression ? "" : Expand(condition.input, nullptr, nullptr);
  const bool holds = Test(condition, input) != condition.negated;
  if (condition.no_vary) vary_this_.clear();
  if (traces_)
    Log(LogLevel::kTrace4, "RewriteCond: input='" + input + "' pattern='" + (condition.negated ? "!" : "") +
                               condition.pattern + "'" + (condition.no_case ? " [NC]" : "") + " => " +
                               (holds ? "matched" : "not-matched"));
  return holds;
}

void Pass::Force(const Rule& rule) {
  const auto lower = [](std::string text) {
    std::transform(text.begin(), text.end(), text.begin(), http::Lower);
    return HasControl(text) ? std::string() : text;  // a type becomes a field of the answer
  };
  if (!rule.media_type.empty()) {
    const std::string value = lower(Expand(rule.media_type, &rule, nullptr));
    if (!value.empty()) forced_type = value;
  }
  if (!rule.handler.empty()) {
    const std::string value = lower(Expand(rule.handler, &rule, nullptr));
    if (!value.empty()) forced_handler = value;
  }
}

void Pass::SetVariables(const Rule& rule) {
  for (const std::string& variable : rule.variables) {
    const std::string text = Expand(variable, nullptr, nullptr);
    if (text.starts_with('!')) {
      state_.environment.Unset(text.substr(1));
      if (traces_) Log(LogLevel::kTrace5, "unsetting env variable '" + text.substr(1) + "'");
      continue;
    }
    const size_t colon = text.find(':');
    const std::string value = colon == std::string::npos ? "" : text.substr(colon + 1);
    state_.environment.Set(text.substr(0, colon), value);
    if (traces_) Log(LogLevel::kTrace5, "setting env variable '" + text.substr(0, colon) + "' to '" + value + "'");
  }
}

void Pass::SetCookie(const std::string& text) {
  const char separator = text.starts_with(';') ? ';' : ':';
  std::vector<std::string> parts;
  for (size_t at = 0; at < text.size();) {
    const size_t begin = text.find_first_not_of(separator, at);
    if (begin == std::string::npos) break;
    at = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, at - begin));
  }
  if (parts.size() < 3) return;
  parts.resize(8);
  const std::string& lifetime = parts[3];
  std::string cookie =
      parts[0] + "=" + parts[1] + "; path=" + (parts[4].empty() ? "/" : parts[4]) + "; domain=" + parts[2];
  const long long minutes = std::strtoll(lifetime.c_str(), nullptr, 10);
  constexpr long long kMostMinutes = 60LL * 24 * 366 * 100;
  if (minutes != 0) {
    const auto start = std::chrono::system_clock::to_time_t(state_.request->start);
    cookie += "; expires=" + CookieDate(start + 60 * std::clamp(minutes, -kMostMinutes, kMostMinutes));
  }
  if (IsSaid(parts[5], "secure")) cookie += "; secure";
  if (IsSaid(parts[6], "HttpOnly")) cookie += "; HttpOnly";
  if (!parts[7].empty() && parts[7] != "0" && !http::EqualsIgnoreCase(parts[7], "false")) {
    cookie += "; SameSite=" + parts[7];
  }
  if (HasControl(cookie)) return;  // what the client has sent must not end the field
  const RequestState* top = &state_;
  while (top->parent) top = top->parent;
  std::string& fields = top->response->fields;
  if (fields.find("Set-Cookie: " + parts[0] + "=") != std::string::npos) {
    if (traces_) Log(LogLevel::kTrace5, "skipping already set cookie '" + parts[0] + "'");
    return;
  }
  AppendField(fields, "Set-Cookie", cookie);
  if (traces_) Log(LogLevel::kTrace5, "setting cookie '" + cookie + "'");
}

void Pass::SplitQuery(const Rule& rule) {
  const auto set = [this](std::string query) {
    state_.has_query = !query.empty();
    state_.query = std::move(query);
  };
  if (rule.Has(Rule::kDropQuery)) {
    if (traces_) Log(LogLevel::kTrace2, "discarding query string, no parse from substitution");
    set("");
    return;
  }
  bool has_query = true;
  if (SchemeLength(file, &has_query) > 0 && !has_query) {
    set("");
    return;
  }
  const size_t at = rule.Has(Rule::kQueryLast) ? file.rfind('?') : file.find('?');
  if (at == std::string::npos) return;
  const std::string before = file;
  std::string query = file.substr(at + 1);
  file.resize(at);
  if (rule.Has(Rule::kQueryAppend)) {
    if (query.empty()) {
      query = state_.query;
    } else if (!state_.query.empty()) {
      query += "&" + state_.query;
    }
  }
  if (query.ends_with('&')) query.pop_back();
  set(std::move(query));
  if (traces_)
    Log(LogLevel::kTrace3,
        "split uri=" + before + " -> uri=" + file + ", args=" + (state_.has_query ? state_.query : "<none>"));
}

void Pass::Qualify() {
  if (SchemeLength(file) > 0) return;
  file = OriginOf(state_) + (file.starts_with('/') ? "" : "/") + file;
}

void Pass::Reduce() {
  const std::string kScheme = SchemeOf(state_) + std::string("://");
  if (!http::EqualsIgnoreCase(std::string_view(file).substr(0, kScheme.size()), kScheme)) return;
  const size_t end = std::min(file.find('/', kScheme.size()), file.size());
  std::string_view name = std::string_view(file).substr(kScheme.size(), end - kScheme.size());
  const size_t colon = name.find(':');
  int port = DefaultPortOf(state_);
  if (colon != std::string_view::npos) {
    port = std::atoi(std::string(name.substr(colon + 1)).c_str());
    name = name.substr(0, colon);
  }
  const config::Host& host = *state_.host->host;
  bool is_ours = false;
  for (const config::Host::Address& address : host.addresses) {
    is_ours = is_ours || ((address.port == 0 || address.port == port) && http::EqualsIgnoreCase(address.host, name));
  }
  if (port == host.server_port) {  // where ServerName has no port, no name is known to be ours: as in Apache
    is_ours = is_ours || http::EqualsIgnoreCase(name, host.server_name);
    for (const std::string& alias : host.server_aliases) {
      is_ours = is_ours || http::WildcardMatch(alias, std::string(name), false);
    }
  }
  if (!is_ours) return;
  const std::string path = end == file.size() ? "/" : file.substr(end);
  if (traces_) Log(LogLevel::kTrace3, "reduce " + file + " -> " + path);
  file = path;
  is_reduced = true;
}

void Pass::TakeText() {
  uri_ = file;
  if (!directory_) return;
  if (!state_.path_info.empty()) {
    if (traces_) Log(LogLevel::kTrace3, "add path info postfix: " + uri_ + " -> " + uri_ + state_.path_info);
    uri_ += state_.path_info;
  }
  if (uri_.starts_with(directory_->directory)) {
    const std::string stripped = uri_.substr(directory_->directory.size());
    if (traces_) Log(LogLevel::kTrace3, "strip per-dir prefix: " + uri_ + " -> " + stripped);
    uri_ = stripped;
  }
}

Pass::Step Pass::Apply(const Rule& rule) {
  TakeText();
  if (traces_) Log(LogLevel::kTrace3, "applying pattern '" + rule.pattern + "' to uri '" + uri_ + "'");
  Poco::RegularExpression::MatchVec groups;
  if (Finds(state_, *rule.regex, uri_, &groups) == rule.negated) return Step::kNoMatch;
  condition_groups_.Clear();
  if (rule.negated) {
    rule_groups_.Clear();
  } else {
    rule_groups_.Set(uri_, groups);
  }
  vary_.clear();
  for (size_t i = 0; i < rule.conditions.size(); ++i) {
    vary_this_.clear();
    const bool holds = Holds(rule.conditions[i]);
    if (rule.conditions[i].or_next) {
      if (!holds) continue;
      while (i < rule.conditions.size() && rule.conditions[i].or_next) ++i;  // the others of the group are not asked
    } else if (!holds) {
      return Step::kNoMatch;
    }
    if (!vary_this_.empty()) vary_ += (vary_.empty() ? "" : ", ") + vary_this_;
  }

  std::string result;
  if (!rule.Has(Rule::kNoSubstitution)) {
    bool unsafe = false;
    result = Expand(rule.output, &rule, &unsafe);
    if (traces_) Log(LogLevel::kTrace2, "rewrite '" + uri_ + "' -> '" + result + "'");
    if (unsafe && !rule.Has(Rule::kUnsafeAllow3F)) {
      Log(LogLevel::kError, "AH10508: Unsafe URL with %3f URL rewritten without UnsafeAllow3F");
      status = 403;
      return Step::kStop;
    }
  }
  SetVariables(rule);
  for (const std::string& cookie : rule.cookies) SetCookie(Expand(cookie, nullptr, nullptr));
  if (rule.Has(Rule::kNoSubstitution)) {
    Force(rule);
    if (!rule.Has(Rule::kStatus)) return Step::kMatchOnly;
    if (traces_) Log(LogLevel::kTrace2, "forcing responsecode " + std::to_string(rule.status) + " for " + file);
    status = rule.status;
    return Step::kStop;
  }

  file = std::move(result);
  if (directory_ && rule.Has(Rule::kDiscardPathInfo)) state_.path_info.clear();
  SplitQuery(rule);
  if (!file.starts_with('/') && SchemeLength(file) == 0) {
    const std::string before = file;
    file = (directory_ ? directory_->directory : "/") + file;
    if (traces_)
      Log(LogLevel::kTrace3,
          std::string(directory_ ? "add per-dir prefix: " : "add root prefix: ") + before + " -> " + file);
  }
  if (rule.Has(Rule::kRedirect)) {
    Qualify();
    if (traces_) Log(LogLevel::kTrace2, "explicitly forcing redirect with " + file);
    status = rule.status;
    return Step::kMatch;
  }
  Reduce();
  if (SchemeLength(file) > 0) {
    if (traces_)
      Log(LogLevel::kTrace2, "implicitly forcing redirect (rc=" + std::to_string(rule.status) + ") with " + file);
    status = rule.status;
    return Step::kMatch;
  }
  if (!rule.Has(Rule::kKeepSlashes) && file.starts_with("//")) {
    file.erase(0, file.find_first_not_of('/') == std::string::npos ? file.size() - 1 : file.find_first_not_of('/') - 1);
  }
  Force(rule);
  return Step::kMatch;
}

Pass::Result Pass::Run(const Rules& rules) {
  Result result = Result::kUnchanged;
  const auto longest = static_cast<size_t>(2 * state_.engine->site().config().limit_request_line);
  constexpr size_t kMostBytes = 32U << 20;  // given to patterns in one pass: rules in a circle end, however they grow
  size_t bytes = 0;
  int rounds = 0;
  PrefixIndex::Candidates candidates;
  bool is_current = false;  // `candidates` are those of the text as it is now
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!traces_ && rules.IsReached(i)) {  // at trace levels every rule is told of
      if (!std::exchange(is_current, true)) {
        TakeText();
        rules.ByPrefix().Find(uri_, candidates);
      }
      i = candidates.Next(i);
      if (i == PrefixIndex::kNone) break;
    }
    const Rule& rule = rules[i];
    // A redirect is of no use to who only wants to know where a URL leads.
    if (state_.is_subrequest() && (rule.Has(Rule::kNoSubrequest) || rule.Has(Rule::kRedirect))) continue;
    if (IsLate()) {
      Log(LogLevel::kError, "RewriteRule '" + rule.pattern + "' was not reached: the rules took too long");
      status = 500;
      return Result::kStatus;
    }
    const Step step = Apply(rule);
    bytes += uri_.size() + 100;
    if (step == Step::kNoMatch) {
      while (i < rules.size() && rules[i].Has(Rule::kChain)) ++i;
      continue;
    }
    is_current = false;
    if (!rule.Has(Rule::kNoSubstitution)) {
      last = &rule;
      if (traces_) Log(LogLevel::kTrace2, "setting lastsub to rule with output " + rule.output);
    }
    if (longest != 0 && file.size() > longest) {
      Log(LogLevel::kError, "RewriteRule '" + rule.pattern + "' and URI '" + file.substr(0, 100) +
                                "...' exceeded maximum length (" + std::to_string(longest) + ")");
      status = 500;
      return Result::kStatus;
    }
    if (!vary_.empty()) AddVary(state_, vary_);
    if (step == Step::kStop) return Result::kStatus;
    if (step == Step::kMatch) result = rule.Has(Rule::kNoEscape) ? Result::kChangedNoEscape : Result::kChanged;
    if (rule.Has(Rule::kPassThrough)) {
      if (traces_)
        Log(LogLevel::kTrace2, "forcing '" + file + "' to get passed through to next API URI-to-filename handler");
      is_passed_through = true;
      result = Result::kChanged;
      break;
    }
    if (rule.Has(Rule::kEnd)) {
      if (traces_) Log(LogLevel::kTrace2, "Rule has END flag, no further rewriting for this request");
      is_end = true;
      break;
    }
    if (rule.Has(Rule::kLast)) break;
    if (rule.Has(Rule::kNext)) {
      if (++rounds >= rule.most_rounds || bytes > kMostBytes) {
        Log(LogLevel::kError, "AH02596: RewriteRule '" + rule.pattern + "' and URI '" + file +
                                  "' exceeded maximum number of rounds (" +
                                  std::to_string(std::min(rounds, rule.most_rounds)) + ") via the [N] flag");
        status = 500;
        return Result::kStatus;
      }
      i = static_cast<size_t>(-1);
      continue;
    }
    i += static_cast<size_t>(rule.skip);
  }
  return result;
}

}  // namespace httpd::modules::rewrite
