// mod_dir: a directory is answered by its index; the slash at its end. Source  httpd 2.4 manual, mod_dir
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/values.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::LogLevel;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

enum class Slash { kOn, kOff, kNotFound };

struct DirSettings final : config::ModuleSettings {
  std::optional<Words> index;  ///< empty: disabled
  std::optional<Slash> slash;
  std::optional<bool> check_handler;
  std::optional<int> redirect;          ///< status of DirectoryIndexRedirect; 0 = Off
  std::optional<std::string> fallback;  ///< "" = disabled

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const DirSettings&>(other);
    auto out = std::make_unique<DirSettings>(*this);
    if (inner.index) out->index = inner.index;
    if (inner.slash) out->slash = inner.slash;
    if (inner.check_handler) out->check_handler = inner.check_handler;
    if (inner.redirect) out->redirect = inner.redirect;
    if (inner.fallback) out->fallback = inner.fallback;
    return out;
  }
};

Complaint AddIndex(config::Builder&, Scope& scope, const Node&, const Words& words) {
  auto& index = config::SettingsOf<DirSettings>(scope).index;
  if (!index) index.emplace();
  if (words.size() == 1 && config::SameIgnoringCase(words[0], "disabled")) {
    index->clear();
  } else {
    index->insert(index->end(), words.begin(), words.end());  // several lines of one section add up
  }
  return std::nullopt;
}

Complaint SetIndexRedirect(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, int> kNames[] = {
      {"on", 302}, {"off", 0}, {"permanent", 301}, {"temp", 302}, {"seeother", 303}};
  auto& redirect = config::SettingsOf<DirSettings>(scope).redirect;
  for (const auto& [name, status] : kNames) {
    if (!config::SameIgnoringCase(words[0], name)) continue;
    redirect = status;
    return std::nullopt;
  }
  if (words[0].find_first_not_of("0123456789") != std::string::npos) {
    return node.name + " ON|OFF|permanent|temp|seeother|3xx";
  }
  if (words[0].size() != 3 || words[0][0] != '3') return node.name + " only accepts values between 300 and 399";
  redirect = std::stoi(words[0]);
  return std::nullopt;
}

Complaint SetSlash(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  static const std::pair<const char*, Slash> kNames[] = {
      {"on", Slash::kOn}, {"off", Slash::kOff}, {"notfound", Slash::kNotFound}};
  for (const auto& [name, slash] : kNames) {
    if (!config::SameIgnoringCase(words[0], name)) continue;
    config::SettingsOf<DirSettings>(scope).slash = slash;
    return std::nullopt;
  }
  return node.name + " must be On, Off or NotFound";
}

Complaint SetCheckHandler(config::Builder&, Scope& scope, const Node& node, const Words& words) {
  const bool on = config::SameIgnoringCase(words[0], "on");
  if (!on && !config::SameIgnoringCase(words[0], "off")) return node.name + " must be On or Off";
  config::SettingsOf<DirSettings>(scope).check_handler = on;
  return std::nullopt;
}

Complaint SetFallback(config::Builder&, Scope& scope, const Node&, const Words& words) {
  config::SettingsOf<DirSettings>(scope).fallback = config::SameIgnoringCase(words[0], "disabled") ? "" : words[0];
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kFile = config::kAnywhere | config::kOverrideIndexes;
  static constexpr char kModule[] = "mod_dir.c";
  static const std::vector<config::Directive> table = {
      {"FallbackResource", kModule, kFile, Arity::kOne, "Set a default handler", OnRead::kNo, SetFallback,
       "disabled|local-url", "disabled", "What answers for URLs that lead to no file, instead of 404."},
      {"DirectoryIndex", kModule, kFile, Arity::kAny, "a list of file names", OnRead::kNo, AddIndex,
       "disabled|local-url [local-url] ...", "index.html",
       "What is looked for when a directory is asked for, the first that exists is sent. Several lines of one section "
       "add up; `disabled` alone forgets those before it."},
      {"DirectorySlash", kModule, kFile, Arity::kOne, "On or Off", OnRead::kNo, SetSlash, "On|Off|NotFound", "On",
       "Whether a directory that is asked for without the slash at its end is redirected to it (On), answered as it is "
       "(Off: an index in it may be shown although DirectoryIndex names a file), or not found."},
      {"DirectoryCheckHandler", kModule, kFile, Arity::kFlag, "On or Off", OnRead::kNo, SetCheckHandler, "On|Off",
       "Off", "On: a directory for which a handler was set has no DirectoryIndex."},
      {"DirectoryIndexRedirect", kModule, kFile, Arity::kOne, "On, Off, or a 3xx status code.", OnRead::kNo,
       SetIndexRedirect, "On|Off|permanent|temp|seeother|3xx", "Off",
       "The client is redirected to the index instead of being sent it."},
  };
  return table;
}

bool IsRedirect(int status) {
  return status >= 300 && status < 400;
}

/// The look-up's refusal becomes the request's own.
Verdict TakeOver(RequestState& state, const RequestState& found) {
  state.response->fields += found.response->fields;
  for (const auto& [name, value] : found.notes) state.notes[name] = value;
  return Verdict::Status(found.status);
}

std::string WithQuery(const RequestState& state, std::string uri) {
  if (state.has_query) uri.append("?").append(state.query);
  return uri;
}

Verdict FixDirectory(RequestState& state, const DirSettings* settings) {
  if (!state.path_info.empty()) return Verdict::Declined();
  if (!state.path.ends_with('/')) {
    if (state.is_subrequest()) return Verdict::Declined();  // a listing asks for what it will link to with its slash
    switch (settings ? settings->slash.value_or(Slash::kOn) : Slash::kOn) {
      case Slash::kOff:
        return Verdict::Declined();
      case Slash::kNotFound:
        return Verdict::Status(404);
      case Slash::kOn:
        break;
    }
    if (state.head().method != http::Method::kGet && state.head().method != http::Method::kHead &&
        state.environment.Find("redirect-carefully")) {
      return Verdict::Declined();
    }
    AppendField(state.response->fields, "Location", WithQuery(state, http::EscapePath(state.path) + "/"));
    return Verdict::Status(301);
  }
  if (settings && settings->check_handler.value_or(false) && !state.handler.empty()) return Verdict::Declined();

  static const Words kByDefault = {"index.html"};
  const Words& names = settings && settings->index ? *settings->index : kByDefault;
  int refused = 0;
  for (const std::string& name : names) {
    auto found = state.engine->LookUp(state, WithQuery(state, name));
    if (found->status == 200 && (S_ISREG(found->info.st_mode) || found->handler == "proxy-server")) {
      if (settings && settings->redirect.value_or(0) != 0) {
        AppendField(state.response->fields, "Location", http::EscapePath(found->path));
        return Verdict::Status(*settings->redirect);
      }
      state.engine->Become(state, std::move(found));
      return Verdict::Done();
    }
    const bool is_last = &name == &names.back();
    if (IsRedirect(found->status) || (is_last && (found->status == 406 || found->status == 401))) {
      return TakeOver(state, *found);
    }
    // An index that cannot be shown must not open the listing: the last refusal stands when no other index is there.
    if (found->status != 404 && found->status != 200) refused = found->status;
  }
  if (refused != 0) return Verdict::Status(refused);
  std::string tried;
  for (const std::string& name : names) tried.append(tried.empty() ? "" : ", ").append(name);
  state.notes["dir-index-names"] = tried;
  return Verdict::Declined();
}

Verdict FixMissing(RequestState& state, const DirSettings& settings) {
  if (settings.fallback.value_or("").empty()) return Verdict::Declined();
  auto found = state.engine->LookUp(state, WithQuery(state, *settings.fallback));
  if (found->status == 200 && (S_ISREG(found->info.st_mode) || found->handler == "proxy-server")) {
    state.engine->Become(state, std::move(found));
    return Verdict::Done();
  }
  if (IsRedirect(found->status)) return TakeOver(state, *found);
  if (found->status != 404 && found->status != 200) return Verdict::Status(found->status);
  return Verdict::Declined();
}

Verdict Fixup(RequestState& state) {
  if (S_ISDIR(state.info.st_mode)) return FixDirectory(state, SettingsFor<DirSettings>(state));
  if (state.exists() || !state.handler.empty()) return Verdict::Declined();
  const auto* settings = SettingsFor<DirSettings>(state);
  return settings ? FixMissing(state, *settings) : Verdict::Declined();
}

}  // namespace

const Module kDir = {.name = {"mod_dir.c", "dir_module"},
                     .directives = Directives,
                     .always = true,
                     .fixup = Fixup,
                     .repeats = DependsOnNothing};

}  // namespace httpd::modules
