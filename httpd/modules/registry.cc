#include "httpd/modules/module.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

std::span<const Module* const> Modules() {
  // Environment first: conditions of the others read it. Headers last: they see what everybody else set.
  // Negotiation before the type: it finds the file whose type is wanted. Handlers: the file itself is last.
  static const Module* const modules[] = {&kAlias,   &kAuthzCore, &kEnv,        &kSetEnvIf, &kNegotiation,
                                          &kMime,    &kDir,       &kStatus,     &kAsIs,     &kAutoindex,
                                          &kExpires, &kHeaders,   &kReqTimeout, &kCore};
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
  static const std::vector<config::Directive> kNone;
  for (const Module* module : Modules()) {
    config::RegisterModule(module->name, module->directives ? module->directives() : kNone);
  }
}

}  // namespace httpd::modules
