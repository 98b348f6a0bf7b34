// mod_actions: Action, Script. Source  httpd 2.4 manual, mod_actions
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Complaint;
using config::Node;
using config::Scope;
using Words = std::vector<std::string>;

struct ActionsSettings final : config::ModuleSettings {
  struct Action {
    std::string script;
    bool is_virtual = false;  ///< the file need not exist
  };
  std::map<std::string, Action> actions;       ///< by handler or media type
  std::map<std::string, std::string> scripts;  ///< by method

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    const auto& inner = static_cast<const ActionsSettings&>(other);
    auto out = std::make_unique<ActionsSettings>(inner);
    out->actions.insert(actions.begin(), actions.end());
    out->scripts.insert(scripts.begin(), scripts.end());
    return out;
  }
};

Complaint AddAction(config::Builder&, Scope& scope, const Node&, const Words& words) {
  if (words.size() > 2 && words[2] != "virtual") return "unrecognized option '" + words[2] + "'";
  config::SettingsOf<ActionsSettings>(scope).actions[words[0]] = {words[1], words.size() > 2};
  return std::nullopt;
}

Complaint SetScript(config::Builder&, Scope& scope, const Node&, const Words& words) {
  static constexpr std::string_view kMethods[] = {"GET",     "PUT",      "POST",  "DELETE", "PATCH",
                                                  "OPTIONS", "PROPFIND", "MKCOL", "COPY",   "MOVE"};
  bool known = false;
  for (const std::string_view method : kMethods) known = known || method == words[0];
  if (!known) {
    if (words[0] == "TRACE") return "TRACE not allowed for Script";
    return "Unknown method type for Script";
  }
  config::SettingsOf<ActionsSettings>(scope).scripts[words[0]] = words[1];
  return std::nullopt;
}

const std::vector<config::Directive>& Directives() {
  using config::Arity;
  using config::OnRead;
  constexpr unsigned kContexts = config::kAnywhere | config::kOverrideFileInfo;
  static const std::vector<config::Directive> table = {
      {"Action", "mod_actions.c", kContexts, Arity::kTwoOrThree, "a media type followed by a script name", OnRead::kNo,
       AddAction, "action-type cgi-script [virtual]", "",
       "Requests whose handler or media type is the first argument are answered by the program at the URL-path of the "
       "second, which gets the path that was asked for as PATH_INFO. The file must exist unless virtual is said."},
      {"Script", "mod_actions.c", config::kAnywhere, Arity::kTwo, "a method followed by a script name", OnRead::kNo,
       SetScript, "method cgi-script", "",
       "Requests with this method that nothing else answers are answered by a program; GET only with a query."},
  };
  return table;
}

Verdict Handle(RequestState& state) {
  const auto* settings = SettingsFor<ActionsSettings>(state);
  if (!settings) return Verdict::Declined();
  const http::RequestHead& head = state.head();
  const std::string* script = nullptr;
  const auto by_method = settings->scripts.find(std::string(head.method_text));
  if (by_method != settings->scripts.end() && (head.method != http::Method::kGet || !state.query.empty())) {
    if (state.redirects >= 2) return Verdict::Declined();  // a script that is no program would come here for ever
    script = &by_method->second;
  }
  std::string type = state.handler.empty() ? state.media_type : state.handler;
  if (state.handler.empty()) type.resize(std::min(type.find_first_of("; "), type.size()));
  const auto by_type = settings->actions.find(type);
  if (by_type != settings->actions.end()) {
    if (!by_type->second.is_virtual && !state.exists()) {
      state.engine->LogError(state, config::LogLevel::kError, "actions", "AH00652: File does not exist: " + state.file);
      return Verdict::Status(404);
    }
    script = &by_type->second.script;
  }
  if (!script) return Verdict::Declined();
  if (state.original_path.empty()) state.original_path = state.path;
  state.environment.Set("HANDLER", type);  // REDIRECT_HANDLER behind the redirect
  state.path.insert(0, *script);
  return Verdict::Restart();
}

}  // namespace

const Module kActions = {.name = {"mod_actions.c", "actions_module"},
                         .directives = Directives,
                         .applies = HasSettings<ActionsSettings>,
                         .handle = Handle,
                         .repeats = DependsOnNothing};

}  // namespace httpd::modules
