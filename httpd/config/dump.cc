#include <map>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/reader.h"

namespace httpd::config {
namespace {

std::string Padded(std::string text) {
  constexpr size_t kColumn = 22;
  if (text.size() < kColumn) text.append(kColumn - text.size(), ' ');
  return text + " ";
}

std::string Named(const Host& host) {
  return host.server_name + " (" + host.where.file + ":" + std::to_string(host.where.line) + ")\n";
}

std::string PortText(uint16_t port) {
  return port == 0 ? "*" : std::to_string(port);
}

// Apache's name for where a log goes: programs with their bar.
std::string TargetText(const LogTarget& target) {
  if (target.kind == LogTarget::Kind::kProgram) return "|" + target.text;
  if (target.kind == LogTarget::Kind::kShell) return "|$" + target.text;
  return target.text;
}

std::string Account(const char* title, const std::string& name) {
  if (name.empty()) return "";
  std::string line = std::string(title) + ": name=\"" + name + "\"";
  if (name.starts_with('#')) line += " id=" + name.substr(1);
  return line + "\n";
}

}  // namespace

std::string DumpHosts(const ServerConfig& config) {
  using Key = std::pair<std::string, uint16_t>;
  std::map<Key, std::vector<const Host*>> by_address;
  std::vector<Key> order;
  for (const bool wildcard : {false, true}) {  // Apache: numeric addresses first, then *
    for (const Host& host : config.virtual_hosts) {
      for (const Host::Address& address : host.addresses) {
        if ((address.host == "*") != wildcard) continue;
        const Key key{address.host, address.port};
        auto& hosts = by_address[key];
        if (hosts.empty()) order.push_back(key);
        if (hosts.empty() || hosts.back() != &host) hosts.push_back(&host);
      }
    }
  }
  std::string text = "VirtualHost configuration:\n";
  for (const Key& key : order) {
    const auto& hosts = by_address[key];
    const std::string name = key.first.find(':') == std::string::npos ? key.first : "[" + key.first + "]";
    text += Padded(name + ":" + PortText(key.second));
    if (hosts.size() == 1) {
      text += Named(*hosts[0]);
      continue;
    }
    text += "is a NameVirtualHost\n         default server " + Named(*hosts[0]);
    for (const Host* host : hosts) {
      text += "         port " + PortText(key.second) + " namevhost " + Named(*host);
      for (const bool wild : {false, true}) {
        for (const std::string& alias : host->server_aliases) {
          if ((alias.find_first_of("*?") != std::string::npos) != wild) continue;
          text += std::string("                 ") + (wild ? "wild alias " : "alias ") + alias + "\n";
        }
      }
    }
  }
  text += "ServerRoot: \"" + config.server_root + "\"\n";
  text += "Main DocumentRoot: \"" + config.main.document_root + "\"\n";
  text += "Main ErrorLog: \"" + TargetText(config.main.error_log) + "\"\n";
  text += "Mutex default: dir=\"" + config.runtime_dir + "/\" mechanism=default \n";
  text += "PidFile: \"" + config.pid_file + "\"\n";
  for (const std::string& name : config.defines) {
    const auto value = config.define_values.find(name);
    text += "Define: " + name + (value == config.define_values.end() ? "" : "=" + value->second) + "\n";
  }
  return text + Account("User", config.user) + Account("Group", config.group);
}

std::string DumpDirectives() {
  std::string text;
  for (const Directive& directive : Directives()) {
    text += std::string(directive.name) + " (" + directive.module + ")\n\t" + directive.help + "\n\tAllowed in *.conf ";
    if (!(directive.contexts & kInSection)) {
      text += directive.contexts & kInHost ? "only outside <Directory>, <Files>, or <Location>"
                                           : "only outside <VirtualHost>, <Directory>, <Files>, or <Location>";
    } else {
      text += directive.contexts & kInServer ? "anywhere" : "only inside <Directory>, <Files>, or <Location>";
    }
    text += "\n";
  }
  return text;
}

std::string DumpIncludes(const ServerConfig& config) {
  std::string text = "Included configuration files:\n";
  for (const IncludedFile& file : config.includes) {
    text.append(2 + 2 * static_cast<size_t>(file.depth), ' ');
    text += "(" + (file.line == 0 ? "*" : std::to_string(file.line)) + ") " + file.path + "\n";
  }
  return text;
}

}  // namespace httpd::config
