// mod_authz_core: Require. Source  httpd 2.4 manual, mod_authz_core
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

Verdict Access(RequestState& state) {
  if (IsGranted(state.settings->require, state.client_address(), state.head().method_text, state.request->is_private)) {
    return Verdict::Declined();
  }
  state.engine->LogError(state, config::LogLevel::kError, "authz_core",
                         "AH01630: client denied by server configuration: " + state.file);
  return Verdict::Status(403);
}

}  // namespace

const Module kAuthzCore = {.name = {"mod_authz_core.c", "authz_core_module"}, .always = true, .access = Access};

}  // namespace httpd::modules
