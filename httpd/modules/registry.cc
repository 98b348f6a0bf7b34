#include "httpd/modules/module.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

std::span<const Module* const> Modules() {
  // Environment first: conditions of the others read it. Headers last: they see what everybody else set.
  static const Module* const modules[] = {&kEnv, &kSetEnvIf, &kExpires, &kHeaders};
  return modules;
}

std::vector<const Module*> ModulesWith(const config::ModuleSlots& slots) {
  std::vector<const Module*> out;
  if (slots.empty()) return out;
  for (const Module* module : Modules()) {
    if (module->applies(slots)) out.push_back(module);
  }
  return out;
}

void RegisterModules() {
  for (const Module* module : Modules()) config::RegisterModule(module->name, module->directives());
}

}  // namespace httpd::modules
