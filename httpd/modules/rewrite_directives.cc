// The directives of mod_rewrite. Source  httpd 2.4 manual, mod_rewrite
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <functional>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/ascii.h"
#include "httpd/http/values.h"
#include "httpd/modules/module.h"
#include "httpd/modules/rewrite.h"

namespace httpd::modules::rewrite {

namespace {

using config::Complaint;
using config::Node;
using config::SameIgnoringCase;
using config::Scope;
using Words = std::vector<std::string>;

/// The arguments are cut as mod_rewrite cuts them: a backslash stays, it may protect a blank.
std::optional<std::vector<std::string>> Arguments(std::string_view line) {
  std::vector<std::string> out;
  size_t at = 0;
  while (out.size() < 3) {
    while (at < line.size() && http::IsSpace(line[at])) ++at;
    if (at == line.size()) break;
    const char quote = line[at] == '"' || line[at] == '\'' ? line[at++] : '\0';
    const size_t begin = at;
    while (at < line.size() && (quote != '\0' ? line[at] != quote : !http::IsSpace(line[at]))) {
      at += line[at] == '\\' && at + 1 < line.size() && http::IsSpace(line[at + 1]) ? 2 : 1;
    }
    out.emplace_back(line.substr(begin, at - begin));
    if (at < line.size()) ++at;
  }
  // What is expanded for every request must not be longer than a request.
  const bool is_long = std::any_of(out.begin(), out.end(), [](const std::string& text) { return text.size() > 8190; });
  if (out.size() < 2 || is_long) return std::nullopt;
  return out;
}

using SetFlag = std::function<Complaint(const std::string& name, const std::string& value)>;

/// "[A,B=value]"
Complaint ParseFlags(const std::string& text, const SetFlag& set) {
  if (text.size() < 2 || !text.starts_with('[') || !text.ends_with(']')) return "bad flag delimiters";
  std::string_view rest = std::string_view(text).substr(1, text.size() - 2);
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    std::string_view flag = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    while (!flag.empty() && http::IsSpace(flag.front())) flag.remove_prefix(1);
    while (!flag.empty() && http::IsSpace(flag.back())) flag.remove_suffix(1);
    if (flag.empty() && rest.empty()) break;
    const size_t equals = flag.find('=');
    const std::string value(equals == std::string_view::npos ? "" : flag.substr(equals + 1));
    if (auto complaint = set(std::string(flag.substr(0, equals)), value)) return complaint;
  }
  return std::nullopt;
}

Complaint SetStatus(const std::string& value, Rule& rule) {
  static const std::pair<const char*, int> kNames[] = {{"permanent", 301}, {"temp", 302}, {"seeother", 303}};
  rule.flags |= Rule::kRedirect;
  if (value.empty()) return std::nullopt;
  for (const auto& [name, status] : kNames) {
    if (!SameIgnoringCase(value, name)) continue;
    rule.status = status;
    return std::nullopt;
  }
  if (value.front() < '0' || value.front() > '9') return std::nullopt;  // as in Apache: 302
  const int status = std::atoi(value.c_str());
  if (status < 100 || status > 599 || http::StatusReason(status) == "Unknown") {
    return "invalid HTTP response code '" + value + "' for flag 'R'";
  }
  rule.status = status;
  const bool is_redirect = status >= 300 && status < 400 && status != 304;
  if (!is_redirect) rule.flags = (rule.flags & ~Rule::kRedirect) | Rule::kStatus | Rule::kNoSubstitution;
  return std::nullopt;
}

Complaint SetRuleFlag(const std::string& name, const std::string& value, Rule& rule) {
  struct Known {
    const char* brief;
    const char* name;
    unsigned flags;
  };
  static constexpr Known kPlain[] = {
      {"BNP", "backrefnoplus", Rule::kEscapeNoPlus},
      {"BNP", "backrefernoplus", Rule::kEscapeNoPlus},
      {"BCTLS", "BCTLS", Rule::kEscape | Rule::kEscapeControls},
      {"C", "chain", Rule::kChain},
      {"DPI", "discardpath", Rule::kDiscardPathInfo},
      {"END", "END", Rule::kEnd},
      {"L", "last", Rule::kLast},
      {"NC", "nocase", Rule::kNoCase},
      {"NE", "noescape", Rule::kNoEscape},
      {"NS", "nosubreq", Rule::kNoSubrequest},
      {"PT", "passthrough", Rule::kPassThrough},
      {"QSA", "qsappend", Rule::kQueryAppend},
      {"QSD", "qsdiscard", Rule::kQueryDiscard},
      {"QSL", "qslast", Rule::kQueryLast},
      {"UnsafeAllow3F", "UnsafeAllow3F", Rule::kUnsafeAllow3F},
      {"UnsafePrefixStat", "UnsafePrefixStat", Rule::kUnsafePrefixStat},
      {"UNC", "UNC", Rule::kKeepSlashes},
  };
  const auto is = [&](const char* brief, const char* full) {
    return SameIgnoringCase(name, brief) || SameIgnoringCase(name, full);
  };
  for (const Known& known : kPlain) {
    if (!is(known.brief, known.name)) continue;
    rule.flags |= known.flags;
    return std::nullopt;
  }
  if (is("B", "backrefescaping")) {
    rule.flags |= Rule::kEscape;
    if (!value.empty()) rule.escapes = value;
  } else if (is("BNE", "BNE")) {
    if (value.empty()) return "flag 'BNE' wants a list of characters (i.e. [BNE=...])";
    rule.no_escapes = value;
  } else if (is("CO", "cookie")) {
    rule.cookies.push_back(value);
  } else if (is("E", "env")) {
    rule.variables.push_back(value);
  } else if (is("F", "forbidden") || is("G", "gone")) {
    rule.flags |= Rule::kStatus | Rule::kNoSubstitution;
    rule.status = is("F", "forbidden") ? 403 : 410;
  } else if (is("H", "handler")) {
    rule.handler = value;
  } else if (is("T", "type")) {
    rule.media_type = value;
  } else if (is("N", "next")) {
    rule.flags |= Rule::kNext;
    if (!value.empty()) rule.most_rounds = std::clamp(std::atoi(value.c_str()), 1, 10000);
  } else if (is("S", "skip")) {
    rule.skip = std::max(0, std::atoi(value.c_str()));
  } else if (is("R", "redirect")) {
    return SetStatus(value, rule);
  } else if (is("P", "proxy")) {
    rule.flags |= Rule::kProxy | Rule::kLast;
  } else {
    return "unknown flag '" + name + "'";
  }
  return std::nullopt;
}

/// What a pattern of a condition asks; the operator is cut off it.
Condition::Test TestOf(std::string& pattern) {
  using Test = Condition::Test;
  static const std::pair<const char*, Test> kFiles[] = {
      {"-f", Test::kIsFile},       {"-s", Test::kHasSize},    {"-d", Test::kIsDirectory},
      {"-x", Test::kIsExecutable}, {"-h", Test::kIsLink},     {"-l", Test::kIsLink},
      {"-L", Test::kIsLink},       {"-F", Test::kLookUpFile}, {"-U", Test::kLookUpUrl}};
  static const std::pair<const char*, Test> kNumbers[] = {
      {"-lt", Test::kNumberLess},     {"-le", Test::kNumberLessOrEqual}, {"-eq", Test::kNumberEqual},
      {"-ne", Test::kNumberNotEqual}, {"-gt", Test::kNumberGreater},     {"-ge", Test::kNumberGreaterOrEqual}};
  static const std::pair<const char*, Test> kTexts[] = {{">=", Test::kGreaterOrEqual},
                                                        {"<=", Test::kLessOrEqual},
                                                        {">", Test::kGreater},
                                                        {"<", Test::kLess},
                                                        {"=", Test::kEqual}};
  if (pattern.size() < 2) return Test::kRegex;
  for (const auto& [text, test] : kFiles) {
    if (pattern == text) return test;
  }
  for (const auto& [text, test] : kNumbers) {
    if (pattern.size() <= 3 || !SameIgnoringCase(std::string_view(pattern).substr(0, 3), text)) continue;
    pattern.erase(0, 3);
    return test;
  }
  for (const auto& [text, test] : kTexts) {
    if (!pattern.starts_with(text)) continue;
    pattern.erase(0, std::string_view(text).size());
    if (test == Test::kEqual && pattern == "\"\"") pattern.clear();
    return test;
  }
  return Test::kRegex;
}

bool IsTextTest(Condition::Test test) {
  return test >= Condition::Test::kLess && test <= Condition::Test::kGreaterOrEqual;
}

std::string WithSlash(std::string text) {
  if (!text.ends_with('/')) text += '/';
  return text;
}

/// Where a directive belongs: the server or virtual host, or the section.
Told& ToldOf(Scope& scope) {
  if (!scope.section) {
    auto& settings = config::SettingsOf<ServerSettings>(scope);
    settings.is_main = !scope.in_virtual_host;
    return settings.told;
  }
  auto& settings = config::SettingsOf<DirectorySettings>(scope);
  settings.directory = WithSlash(scope.section->pattern);
  return settings.told;
}

Complaint SetEngine(config::Builder&, Scope& scope, const Node&, const Words& words) {
  const bool on = SameIgnoringCase(words[0], "on");
  if (!on && !SameIgnoringCase(words[0], "off")) return "RewriteEngine must be On or Off";
  ToldOf(scope).engine = on;
  return std::nullopt;
}

Complaint SetOptions(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, unsigned> kNames[] = {{"inherit", kInherit},
                                                            {"inheritbefore", kInheritBefore},
                                                            {"inheritdown", kInheritDown},
                                                            {"inheritdownbefore", kInheritDownBefore},
                                                            {"ignoreinherit", kIgnoreInherit},
                                                            {"allownoslash", kAllowNoSlash},
                                                            {"allowanyuri", kAllowAnyUri},
                                                            {"mergebase", kMergeBase},
                                                            {"ignorecontextinfo", kIgnoreContextInfo},
                                                            {"legacyprefixdocroot", kLegacyPrefixDocRoot},
                                                            {"unsafeprefixstat", kAllPrefixStat},
                                                            {"longurloptimization", 0}};
  unsigned options = 0;
  for (const std::string& word : words) {
    const auto found = std::find_if(std::begin(kNames), std::end(kNames),
                                    [&](const auto& known) { return SameIgnoringCase(word, known.first); });
    if (found != std::end(kNames)) {
      options |= found->second;
    } else if (SameIgnoringCase(std::string_view(word).substr(0, 13), "MaxRedirects=")) {
      builder.Warn(node,
                   "AH00664: RewriteOptions: MaxRedirects option has been removed in favor of the global "
                   "LimitInternalRecursion directive and will be ignored.");
    } else {
      return "RewriteOptions: unknown option '" + word + "'";
    }
  }
  Told& told = ToldOf(scope);
  told.options = told.options.value_or(0) | options;
  return std::nullopt;
}

Complaint SetBase(config::Builder&, Scope& scope, const Node& node, const Words&) {
  if (!scope.section) return "RewriteBase: only valid in per-directory config files";
  const Words words = config::SplitWords(node.arguments);
  if (words.size() != 1) return "RewriteBase takes one argument, the base URL of the per-directory context";
  if (words[0].empty()) return "RewriteBase: empty URL not allowed";
  if (!words[0].starts_with('/')) return "RewriteBase: argument is not a valid URL";
  ToldOf(scope);
  config::SettingsOf<DirectorySettings>(scope).base = words[0];
  return std::nullopt;
}

Complaint AddMap(config::Builder& builder, Scope& scope, const Node&, const Words& words) {
  static const std::pair<const char*, Map::Kind> kInternal[] = {{"toupper", Map::Kind::kToUpper},
                                                                {"tolower", Map::Kind::kToLower},
                                                                {"escape", Map::Kind::kEscape},
                                                                {"unescape", Map::Kind::kUnescape}};
  const std::string& name = words[0];
  const std::string& source = words[1];
  Map map;
  const auto starts = [&](std::string_view prefix) {
    return SameIgnoringCase(std::string_view(source).substr(0, prefix.size()), prefix);
  };
  if (starts("int:")) {
    const std::string function = source.substr(4);
    const auto found = std::find_if(std::begin(kInternal), std::end(kInternal),
                                    [&](const auto& known) { return function == known.first; });
    if (found == std::end(kInternal)) return "RewriteMap: internal map not found:" + function;
    map.kind = found->second;
  } else if (starts("dbm") || starts("prg:") || starts("dbd:") || starts("fastdbd:")) {
    return "RewriteMap: " + source.substr(0, source.find(':')) +
           " maps are not supported: txt:, rnd: and int: are (httxt2dbm's input is a txt: map)";
  } else {
    const bool is_random = starts("rnd:");
    map.kind = is_random ? Map::Kind::kRandom : Map::Kind::kText;
    std::string path = is_random || starts("txt:") ? source.substr(4) : source;
    if (path.empty()) return std::string("RewriteMap: bad path to ") + (is_random ? "rnd" : "txt") + " map: " + path;
    path = builder.Absolute(path);
    struct stat info {};
    if (::stat(path.c_str(), &info) != 0) return "RewriteMap: file for map " + name + " not found:" + path;
    map.file = std::make_shared<const MapFile>(path);
  }
  ToldOf(scope);
  config::SettingsOf<ServerSettings>(scope).maps[name] = std::move(map);
  return std::nullopt;
}

Complaint AddCondition(config::Builder& builder, Scope& scope, const Node& node, const Words&) {
  Condition condition;
  std::vector<std::string> warnings;
  if (auto complaint = ParseCondition(node.arguments, scope.htaccess != nullptr, node.where, condition, warnings)) {
    return complaint;
  }
  for (const std::string& warning : warnings) builder.Warn(node, warning);
  ToldOf(scope).pending.push_back(std::move(condition));
  return std::nullopt;
}

Complaint AddRule(config::Builder&, Scope& scope, const Node& node, const Words&) {
  Told& told = ToldOf(scope);
  auto rule = std::make_shared<Rule>();
  if (auto complaint = ParseRule(node.arguments, std::move(told.pending), *rule)) return complaint;
  told.pending.clear();
  told.rules.Append(std::move(rule));
  return std::nullopt;
}

}  // namespace

Complaint ParseCondition(const std::string& line, bool in_htaccess, const config::SourceLine& where, Condition& out,
                         std::vector<std::string>& warnings) {
  const auto arguments = Arguments(line);
  if (!arguments) return "RewriteCond: bad argument line '" + line.substr(0, 200) + "'";
  out.input = (*arguments)[0];
  out.pattern = (*arguments)[1];
  if (arguments->size() > 2) {
    const auto complaint =
        ParseFlags((*arguments)[2], [&out](const std::string& name, const std::string&) -> Complaint {
          if (SameIgnoringCase(name, "nocase") || SameIgnoringCase(name, "NC")) {
            out.no_case = true;
          } else if (SameIgnoringCase(name, "ornext") || SameIgnoringCase(name, "OR")) {
            out.or_next = true;
          } else if (SameIgnoringCase(name, "novary") || SameIgnoringCase(name, "NV")) {
            out.no_vary = true;
          } else {
            return "unknown flag '" + name + "'";
          }
          return std::nullopt;
        });
    if (complaint) return "RewriteCond: " + *complaint;
  }
  if (out.pattern.starts_with('!')) {
    out.negated = true;
    out.pattern.erase(0, 1);
  }
  if (SameIgnoringCase(out.input, "expr")) {
    out.test = Condition::Test::kExpression;
    auto compiled = Expression::Compile(out.pattern, ExpressionKind::kCondition,
                                        in_htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed, where);
    if (!compiled) {
      return std::string("RewriteCond: cannot compile expression") + (in_htaccess ? " in htaccess context" : "") +
             " \"" + out.pattern + "\" " + compiled.error().what;
    }
    out.expression = std::move(compiled).value();
  } else {
    out.test = TestOf(out.pattern);
  }
  if (out.test == Condition::Test::kRegex) {
    auto compiled = CompileRegex(out.pattern, out.no_case);
    if (!compiled) return "RewriteCond: cannot compile regular expression '" + out.pattern + "'";
    out.regex = std::move(compiled).value();
  } else if (out.no_case && !IsTextTest(out.test)) {
    warnings.push_back("AH00665: RewriteCond: NoCase option for non-regex pattern '" + out.pattern +
                       "' is not supported and will be ignored.");
    out.no_case = false;
  }
  return std::nullopt;
}

Complaint ParseRule(const std::string& line, std::vector<Condition> conditions, Rule& out) {
  const auto arguments = Arguments(line);
  if (!arguments) return "RewriteRule: bad argument line '" + line.substr(0, 200) + "'";
  if (arguments->size() > 2) {
    const auto complaint =
        ParseFlags((*arguments)[2], [&out](const std::string& name, const std::string& value) -> Complaint {
          return SetRuleFlag(name, value, out);
        });
    if (complaint) return "RewriteRule: " + *complaint;
  }
  out.conditions = std::move(conditions);
  out.pattern = (*arguments)[0];
  if (out.pattern.starts_with('!')) {
    out.negated = true;
    out.pattern.erase(0, 1);
  }
  auto compiled = CompileRegex(out.pattern, out.Has(Rule::kNoCase));
  if (!compiled) return "RewriteRule: cannot compile regular expression '" + out.pattern + "'";
  out.regex = std::move(compiled).value();
  out.output = (*arguments)[1];
  if (out.output == "-") out.flags |= Rule::kNoSubstitution;
  if (out.output.starts_with("//")) out.flags |= Rule::kKeepSlashes;
  if (out.output.ends_with('?')) {
    out.output.pop_back();
    // A trailing '?' takes the query away, unless QSA asks to keep it.
    if (!out.Has(Rule::kQueryAppend)) out.flags |= Rule::kDropQuery;
  } else if (out.Has(Rule::kQueryDiscard) && out.output.find('?') == std::string::npos) {
    out.flags |= Rule::kDropQuery;
  }
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kPlaces = config::kAnywhere | config::kOverrideFileInfo;
  static constexpr char kModule[] = "mod_rewrite.c";
  static const std::vector<config::Directive> table = {
      {"RewriteEngine", kModule, kPlaces, Arity::kFlag,
       "On or Off to enable or disable (default) the whole rewriting engine", OnRead::kNo, SetEngine, "on|off", "off",
       "A virtual host has rules of its own: those of the main server are not used there unless RewriteOptions Inherit "
       "says so."},
      {"RewriteOptions", kModule, kPlaces, Arity::kAtLeastOne, "List of option strings to set", OnRead::kNo, SetOptions,
       "option...", "",
       "Inherit, InheritBefore, InheritDown, InheritDownBefore, IgnoreInherit: whether the rules of the outer place "
       "are "
       "used, and where. AllowNoSlash, AllowAnyURI, MergeBase, IgnoreContextInfo, LegacyPrefixDocRoot, "
       "UnsafePrefixStat as in Apache; "
       "LongURLOptimization is accepted and changes nothing."},
      {"RewriteBase", kModule, kPlaces, Arity::kRaw, "the base URL of the per-directory context", OnRead::kNo, SetBase,
       "URL-path", "", "What stands in the URL for the directory that a relative substitution is put behind."},
      {"RewriteCond", kModule, kPlaces, Arity::kRaw, "an input string and a to be applied regexp-pattern", OnRead::kNo,
       AddCondition, "TestString [!]CondPattern [flags]", "",
       "A condition of the RewriteRule that follows. A regular expression that needs more than 100,000 steps for one "
       "text does not match it."},
      {"RewriteRule", kModule, kPlaces, Arity::kRaw, "an URL-applied regexp-pattern and a substitution URL",
       OnRead::kNo, AddRule, "[!]Pattern Substitution [flags]", "",
       "Every flag of Apache 2.4. A result that is longer than twice LimitRequestLine, or 10,000 rounds by N, "
       "end "
       "the request with 500."},
      {"RewriteMap", kModule, config::kInHosts, Arity::kTwoOrThree, "a mapname and a filename and options", OnRead::kNo,
       AddMap, "name txt:file|rnd:file|int:function", "",
       "A table for ${name:key|default}. Files are read when their size or date has changed."},
  };
  return table;
}

}  // namespace httpd::modules::rewrite
