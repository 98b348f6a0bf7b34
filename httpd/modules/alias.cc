// mod_alias: Alias, Redirect and their relatives. Source  httpd 2.4 manual, mod_alias
#include <algorithm>
#include <cstdlib>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/values.h"
#include "httpd/modules/alias_table.h"
#include "httpd/modules/answer_cache.h"
#include "httpd/modules/expression.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::SameIgnoringCase;
using config::Scope;
using Words = std::vector<std::string>;

/// Tables of a place and of those around it, its own first.
using Tables = std::vector<std::shared_ptr<AliasTable>>;

AliasTable& Own(Tables& tables) {
  if (tables.empty()) tables.push_back(std::make_shared<AliasTable>());
  return *tables.front();
}

/// Of the server or a virtual host.
struct AliasSettings final : config::ModuleSettings {
  Tables aliases;
  Tables redirects;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<AliasSettings>(static_cast<const AliasSettings&>(other));
    out->aliases.insert(out->aliases.end(), aliases.begin(), aliases.end());
    out->redirects.insert(out->redirects.end(), redirects.begin(), redirects.end());
    return out;
  }
};

/// Of a section or an .htaccess file.
struct PlaceSettings final : config::ModuleSettings {
  Tables redirects;
  std::shared_ptr<const Expression> alias;  ///< Alias with one argument, in <Location>
  std::string location;                     ///< of that <Location>
  std::string handler;
  std::shared_ptr<const Expression> target;  ///< Redirect without a path; null with a status that needs none
  int status = 0;                            ///< ... 0: there is none
  std::optional<bool> is_relative;
  std::optional<bool> preserves_path;
  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<PlaceSettings>(static_cast<const PlaceSettings&>(other));
    out->redirects.insert(out->redirects.end(), redirects.begin(), redirects.end());
    if (!out->alias) {
      out->alias = alias;
      out->location = location;
      out->handler = handler;
    }
    if (out->status == 0) {
      out->status = status;
      out->target = target;
    }
    if (!out->is_relative) out->is_relative = is_relative;
    if (!out->preserves_path) out->preserves_path = preserves_path;
    return out;
  }
};

bool IsRedirect(int status) {
  return status >= 300 && status < 400 && status != 304;
}

ExpressionFiles FilesFor(const Scope& scope) {
  return scope.htaccess ? ExpressionFiles::kRefused : ExpressionFiles::kAllowed;
}

// ---- directives ----------------------------------------------------------------------------------------------------

Complaint AddAlias(config::Builder& builder, Scope& scope, const Node& node, const Words& words) {
  const bool is_script = SameIgnoringCase(std::string_view(node.name).substr(0, 6), "Script");
  const bool is_match = config::LowerCase(node.name).ends_with("match");
  const char* handler = is_script ? "cgi-script" : "";
  if (scope.section) {
    if (words.size() > 1) return node.name + " cannot occur within directory context";
    if (scope.section->kind != config::Section::Kind::kLocation) {
      return node.name + " cannot occur within " + (scope.parent ? scope.parent->name : "<Directory") + "> section";
    }
    auto compiled = Expression::Compile(words[0], ExpressionKind::kString, FilesFor(scope), node.where);
    if (!compiled) return "Cannot parse alias expression '" + words[0] + "': " + compiled.error().what;
    auto& settings = config::SettingsOf<PlaceSettings>(scope);
    settings.alias = std::move(compiled).value();
    settings.location = scope.section->pattern;
    settings.handler = handler;
    return std::nullopt;
  }
  if (words.size() < 2) return "Alias must have two arguments when used globally";
  AliasRule rule;
  rule.to = builder.Absolute(words[1]);
  rule.handler = handler;
  AliasTable& table = Own(config::SettingsOf<AliasSettings>(scope).aliases);
  if (is_match) {
    if (words[1].starts_with('$')) rule.to = words[1];
    auto compiled = CompileRegex(words[0]);
    if (!compiled) return "Regular expression could not be compiled.";
    rule.regex = std::move(compiled).value();
  } else {
    rule.from = words[0];
    if (const AliasRule* before = table.Covering(rule.from)) {
      builder.Warn(node,
                   "AH00671: The " + node.name + " directive in " + node.where.file + " at line " +
                       std::to_string(node.where.line) + " will probably never match because it overlaps an earlier " +
                       (before->handler.empty() ? "" : "Script") + "Alias" + (before->regex ? "Match" : "") + ".");
    }
  }
  table.Add(std::move(rule));
  return std::nullopt;
}

Complaint AddRedirect(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, int> kStatuses[] = {
      {"permanent", 301}, {"temp", 302}, {"seeother", 303}, {"gone", 410}};
  const bool is_match = SameIgnoringCase(node.name, "RedirectMatch");
  int status = SameIgnoringCase(node.name, "RedirectPermanent") ? 301 : 302;
  Words rest = words;
  bool is_status = false;
  for (const auto& [name, value] : kStatuses) {
    if (!SameIgnoringCase(words[0], name)) continue;
    status = value;
    is_status = true;
  }
  if (!is_status && words[0].front() >= '0' && words[0].front() <= '9') {
    status = std::atoi(words[0].c_str());
    is_status = true;
  }
  if (is_status) rest.erase(rest.begin());
  if (rest.size() > 2) return "Redirect: invalid first argument (of three)";
  // Without a path: the whole of a section.
  if (scope.section && !is_match && (rest.empty() || (rest.size() == 1 && IsRedirect(status)))) {
    if (rest.empty() && IsRedirect(status)) return "URL to redirect to is missing";
    auto& settings = config::SettingsOf<PlaceSettings>(scope);
    settings.status = status;
    settings.target.reset();
    if (rest.empty()) return std::nullopt;
    auto compiled = Expression::Compile(rest[0], ExpressionKind::kString, FilesFor(scope), node.where);
    if (!compiled) return "Cannot parse redirect expression '" + rest[0] + "': " + compiled.error().what;
    settings.target = std::move(compiled).value();
    return std::nullopt;
  }
  if (IsRedirect(status) && rest.size() < 2) return "URL to redirect to is missing";
  if (!IsRedirect(status) && rest.size() > 1 && status != 304) return "Redirect URL not valid for this status";
  if (rest.empty()) return "Redirect: the URL-path is missing";
  AliasRule rule;
  rule.status = status;
  if (rest.size() > 1) {
    rule.to = rest[1];
    if (!is_match && !rule.to.starts_with('/') && rule.to.find(':') == std::string::npos) return "Redirect to non-URL";
  }
  if (is_match) {
    auto compiled = CompileRegex(rest[0]);
    if (!compiled) return "Regular expression could not be compiled.";
    rule.regex = std::move(compiled).value();
  } else {
    rule.from = rest[0];
  }
  Own(scope.section ? config::SettingsOf<PlaceSettings>(scope).redirects
                    : config::SettingsOf<AliasSettings>(scope).redirects)
      .Add(std::move(rule));
  return std::nullopt;
}

template <std::optional<bool> PlaceSettings::*kMember>
Complaint SetFlag(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  const bool on = SameIgnoringCase(words[0], "on");
  if (!on && !SameIgnoringCase(words[0], "off")) return node.name + " must be On or Off";
  config::SettingsOf<PlaceSettings>(scope).*kMember = on;
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kFileInfo = config::kAnywhere | config::kOverrideFileInfo;
  static constexpr char kModule[] = "mod_alias.c";
  static const std::vector<config::Directive> table = {
      {"Alias", kModule, config::kAnywhere, Arity::kOneOrTwo, "a fakename and a realname, or a realname in a Location",
       OnRead::kNo, AddAlias, "[URL-path] file-path|directory-path", "",
       "Maps a URL-path to a place in the file system. In <Location> the URL-path is left out, and the other may hold "
       "%{...} of expressions. Of several the first one of the configuration that matches is used."},
      {"ScriptAlias", kModule, config::kAnywhere, Arity::kOneOrTwo,
       "a fakename and a realname, or a realname in a Location", OnRead::kNo, AddAlias,
       "[URL-path] file-path|directory-path", "", "As Alias; what is there is run as CGI program."},
      {"AliasMatch", kModule, config::kInHosts, Arity::kTwo, "a regular expression and a filename", OnRead::kNo,
       AddAlias, "regex file-path|directory-path"},
      {"ScriptAliasMatch", kModule, config::kInHosts, Arity::kTwo, "a regular expression and a filename", OnRead::kNo,
       AddAlias, "regex file-path|directory-path"},
      {"Redirect", kModule, kFileInfo, Arity::kOneToThree,
       "an optional status, then document to be redirected and destination URL", OnRead::kNo, AddRedirect,
       "[status] [URL-path] URL", "",
       "Answers with a redirect, or with another status, which then has no URL. Redirects come before aliases."},
      {"RedirectMatch", kModule, kFileInfo, Arity::kTwoOrThree,
       "an optional status, then a regular expression and destination URL", OnRead::kNo, AddRedirect,
       "[status] regex URL"},
      {"RedirectTemp", kModule, kFileInfo, Arity::kTwo, "a document to be redirected, then the destination URL",
       OnRead::kNo, AddRedirect, "URL-path URL"},
      {"RedirectPermanent", kModule, kFileInfo, Arity::kTwo, "a document to be redirected, then the destination URL",
       OnRead::kNo, AddRedirect, "URL-path URL"},
      {"RedirectRelative", kModule, kFileInfo, Arity::kFlag,
       "Controls whether relative Redirect target paths will be issued as-is", OnRead::kNo,
       SetFlag<&PlaceSettings::is_relative>, "On|Off", "Off"},
      {"AliasPreservePath", kModule, kFileInfo, Arity::kFlag, "Map the full path after the fakename to the realname",
       OnRead::kNo, SetFlag<&PlaceSettings::preserves_path>, "On|Off", "Off",
       "For Alias in <Location>: what follows the location is put behind the path."},
  };
  return table;
}

// ---- requests ------------------------------------------------------------------------------------------------------

bool IsUrl(std::string_view text) {
  const size_t colon = text.find(':');
  return colon != std::string_view::npos && colon != 0 &&
         std::all_of(text.begin(), text.begin() + static_cast<ptrdiff_t>(colon), [](unsigned char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '+' || c == '-' ||
                  c == '.';
         });
}

std::string Escaped(std::string_view path) {
  return http::EscapePath("/" + std::string(path)).substr(1);
}

/// A target made of the request: its path is escaped, what follows '?' or '#' is not.
std::string EscapedTarget(std::string_view target) {
  const size_t end = std::min(target.find_first_of("?#"), target.size());
  return Escaped(target.substr(0, end)) + std::string(target.substr(end));
}

Verdict Answer(RequestState& state, int status, std::string target) {
  if (!IsRedirect(status)) return Verdict::Status(status >= 100 && status <= 599 ? status : 500);
  const auto* place = SettingsFor<PlaceSettings>(state);
  const bool is_relative = place && place->is_relative.value_or(false);
  if (!IsUrl(target) && !target.starts_with('/')) {
    state.engine->LogError(state, LogLevel::kError, "alias",
                           "AH00674: cannot redirect '" + state.path + "' to '" + target +
                               "'; target is not a valid absoluteURI or abs_path");
    return Verdict::Status(500);
  }
  if (state.has_query && target.find('?') == std::string::npos) target += "?" + state.query;
  if (std::any_of(target.begin(), target.end(), [](char c) { return (c >= 0 && c < ' ') || c == 127; })) {
    state.engine->LogError(state, LogLevel::kError, "alias",
                           "AH02430: Response header 'Location' value contains invalid characters, aborting request");
    return Verdict::Status(500);
  }
  if (is_relative) state.notes["redirect-relative"] = "1";
  return RedirectTo(state, status, target);
}

/// The first redirect of the tables. Declined: none
Verdict Redirected(RequestState& state, const Tables& tables) {
  for (const auto& table : tables) {
    const AliasTable::Match match = table->Find(state.path, &state.gave_up);
    if (!match.rule) continue;
    if (!IsRedirect(match.rule->status)) return Answer(state, match.rule->status, "");
    return Answer(state, match.rule->status,
                  match.rule->regex ? EscapedTarget(ExpandGroups(match.rule->to, state.path, match.groups))
                                    : match.rule->to + Escaped(std::string_view(state.path).substr(match.length)));
  }
  return Verdict::Declined();
}

/// Redirect of a whole section.
Verdict RedirectedWhole(RequestState& state, const PlaceSettings* place) {
  if (!place || place->status == 0) return Verdict::Declined();
  return Answer(state, place->status, place->target ? EscapedTarget(place->target->Text(state)) : "");
}

Verdict MappedTo(RequestState& state, const std::string& file, const std::string& root, const std::string& url_root,
                 const std::string& handler) {
  auto normal = NormalPath(file.starts_with('/') ? file : state.engine->site().config().server_root + "/" + file);
  if (!normal) return Verdict::Status(403);
  state.file = std::move(*normal);
  // Symbolic links are judged below what the configuration has named.
  const auto normal_root = NormalPath(root);
  state.root = normal_root && state.file.starts_with(*normal_root) ? *normal_root : "/";
  state.url_root = url_root;
  if (!handler.empty()) state.notes["alias-forced-type"] = handler;
  return Verdict::Done();
}

Verdict Translate(RequestState& state) {
  state.notes.erase("alias-forced-type");
  state.notes.erase("redirect-relative");
  if (!state.path.starts_with('/')) return Verdict::Declined();
  const auto* place = SettingsFor<PlaceSettings>(state);
  const auto* settings = HostSettingsFor<AliasSettings>(state);
  if (Verdict verdict = RedirectedWhole(state, place); !verdict.is(Verdict::Kind::kDeclined)) return verdict;
  if (settings) {
    if (Verdict verdict = Redirected(state, settings->redirects); !verdict.is(Verdict::Kind::kDeclined)) return verdict;
  }
  if (place && place->alias) {
    std::string file = place->alias->Text(state);
    if (file.empty()) return Verdict::Status(500);
    const std::string root = file;
    std::string prefix;
    if (place->preserves_path.value_or(false)) {
      AliasTable table;
      table.Add({place->location, "", nullptr, "", 0});
      const AliasTable::Match match = table.Find(state.path, &state.gave_up);
      if (match.rule) {
        file += state.path.substr(match.length);
        prefix = place->location;
      }
    }
    return MappedTo(state, file, root, prefix, place->handler);
  }
  if (!settings) return Verdict::Declined();
  for (const auto& table : settings->aliases) {
    const AliasTable::Match match = table->Find(state.path, &state.gave_up);
    if (!match.rule) continue;
    const AliasRule& rule = *match.rule;
    if (!rule.regex) {
      return MappedTo(state, rule.to + state.path.substr(match.length), rule.to, rule.from, rule.handler);
    }
    const std::string literal = rule.to.substr(0, std::min(rule.to.find('$'), rule.to.size()));
    return MappedTo(state, ExpandGroups(rule.to, state.path, match.groups), literal.substr(0, literal.rfind('/') + 1),
                    "", rule.handler);
  }
  return Verdict::Declined();
}

/// Redirects of .htaccess files and <Directory>.
Verdict Fixup(RequestState& state) {
  const auto* place = SettingsFor<PlaceSettings>(state);
  if (!place) return Verdict::Declined();
  if (Verdict verdict = RedirectedWhole(state, place); !verdict.is(Verdict::Kind::kDeclined)) return verdict;
  return Redirected(state, place->redirects);
}

bool Applies(const config::ModuleSlots& slots) {
  return slots.Find<AliasSettings>() || slots.Find<PlaceSettings>();
}

void Repeats(const RequestState& state, Dependencies& on) {
  const auto* place = SettingsFor<PlaceSettings>(state);
  if (place && (place->alias || place->target)) on.OnMore();  // expressions
}

}  // namespace

Verdict UseForcedHandler(RequestState& state) {
  if (!state.handler.empty()) return Verdict::Declined();  // SetHandler has the last word
  const auto forced = state.notes.find("alias-forced-type");
  if (forced != state.notes.end()) state.handler = forced->second;
  return Verdict::Declined();
}

const Module kAlias = {.name = {"mod_alias.c", "alias_module"},
                       .directives = Directives,
                       .applies = Applies,
                       .translate = Translate,
                       .type = UseForcedHandler,
                       .fixup = Fixup,
                       .repeats = Repeats};

}  // namespace httpd::modules
