#include "httpd/modules/expression.h"
#include "httpd/modules/module.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

std::span<const Module* const> Modules() {
  // Where a path leads: rewriting, aliases, users, hosts. Then the environment: conditions of the others read it.
  // Headers last: they see what everybody else set. Handlers: the file itself is last.
  static const Module* const modules[] = {&kRewrite, &kAlias,    &kUserDir, &kVhostAlias, &kAuthzCore,
                                          &kEnv,     &kSetEnvIf, &kDir,     &kStatus,     &kAutoindex,
                                          &kSpeling, &kExpires,  &kHeaders, &kCore};
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
