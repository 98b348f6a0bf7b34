#include "httpd/modules/expression.h"
#include "httpd/modules/module.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

std::span<const Module* const> Modules() {
  // clang-format off
  static const Module* const modules[] = {
      // The client's address before anything looks at it.
      &kRemoteip,
      &kUniqueId,
      // Where: rules, redirects and aliases, users, hosts.
      &kRewrite,
      &kProxy,
      &kAlias,
      &kUserDir,
      &kVhostAlias,
      // Connections: what they must be, and what their certificates say.
      &kSsl,
      // access: methods, addresses, then Require, which asks whether the others have let the client in.
      &kAllowMethods,
      &kAccessCompat,
      &kAuthzCore,
      &kAuthzHost,
      &kAuthzUser,
      &kAuthzGroupFile,
      &kAuthzOwner,
      // authenticate: authn_core comes last, it says that nobody could.
      &kAuthnFile,
      &kAuthBasic,
      &kAuthDigest,
      &kAuthnCore,
      // Environment first: conditions of the others read it.
      &kEnv,
      &kSetEnvIf,
      // Negotiation before the type: it finds the file whose type is wanted.
      &kNegotiation,
      &kMime,
      &kDir,
      &kStatus,
      &kInfo,
      &kAsIs,
      &kAutoindex,
      &kLogio,
      &kSpeling,
      &kExpires,
      // The file that stands for another comes before the filters, which leave coded content alone.
      &kPrecompressed,
      &kFilter,
      &kDeflate,
      &kBrotli,
      &kZstd,
      &kSubstitute,
      &kRateLimit,
      // Headers last: they see what everybody else set.
      &kHeaders,
      &kReqTimeout,
      &kHttp2,
      // Handlers: the file itself is last.
      &kCgi,
      &kCgid,
      &kProxyHttp,
      &kProxyTunnel,
      &kProxyBalancer,
      &kByRequests,
      &kByTraffic,
      &kByBusyness,
      &kActions,
      &kCore,
  };
  // clang-format on
  return modules;
}

std::vector<const Module*> ModulesWith(const config::ModuleSlots& slots) {
  std::vector<const Module*> out;
  for (const Module* module : Modules()) {
    if (module->always || (module->applies && module->applies(slots))) out.push_back(module);
  }
  return out;
}

void RegisterModules() {
  RegisterExpressionLanguage();
  static const std::vector<config::Directive> kNone;
  for (const Module* module : Modules()) {
    config::RegisterModule(module->name, module->directives ? module->directives() : kNone);
  }
}

}  // namespace httpd::modules
