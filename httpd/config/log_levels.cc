#include <algorithm>

#include "httpd/config/server_config.h"

namespace httpd::config {

LogLevel LogLevels::Of(std::string_view module) const {
  for (const auto& [name, of_module] : modules) {
    if (name == module) return of_module;
  }
  return level.value_or(LogLevel::kWarn);
}

void LogLevels::Set(const std::string& module, LogLevel to) {
  std::erase_if(modules, [&](const auto& entry) { return entry.first == module; });
  modules.emplace_back(module, to);
}

void LogLevels::Merge(const LogLevels& inner) {
  if (inner.level) {
    *this = inner;
    return;
  }
  for (const auto& [name, of_module] : inner.modules) Set(name, of_module);
}

}  // namespace httpd::config
