#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "httpd/config/directives.h"
#include "httpd/config/reader.h"
#include "httpd/config/tree.h"

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
  if (target.kind == LogTarget::Kind::kSyslog) return "syslog:" + target.text;
  return target.text;
}

std::string Account(const char* title, const std::string& name, std::optional<unsigned long> id, bool used) {
  if (name.empty()) return "";
  std::string line = std::string(title) + ": name=\"" + name + "\"";
  if (id) line += " id=" + std::to_string(*id);
  return line + (used ? "" : " not_used") + "\n";
}

/// Place of a module in -l: directives of one module stand together.
size_t PlaceOf(const char* module) {
  const auto& modules = BuiltInModules();
  const auto found = std::find_if(modules.begin(), modules.end(),
                                  [&](const ModuleName& known) { return std::string_view(known.file) == module; });
  return static_cast<size_t>(found - modules.begin());
}

/// Source  server/config.c show_overrides
std::string ContextText(unsigned contexts) {
  static constexpr std::pair<unsigned, const char*> kClasses[] = {{kOverrideAuthConfig, "AuthConfig"},
                                                                  {kOverrideLimit, "Limit"},
                                                                  {kOverrideOptions, "Options"},
                                                                  {kOverrideFileInfo, "FileInfo"},
                                                                  {kOverrideIndexes, "Indexes"}};
  const bool outside = (contexts & kInHosts) != 0;
  const bool inside = (contexts & (kInSection | kOverrideAny)) != 0;
  std::string text = !inside    ? "only outside <Directory>, <Files>, <Location>, or <If>"
                     : !outside ? "only inside <Directory>, <Files>, <Location>, or <If>"
                                : "anywhere";
  if (!(contexts & kOverrideAny)) return text;
  text += " and in .htaccess\n\twhen AllowOverride";
  if ((contexts & kOverrideAny) == kOverrideAny) return text + " isn't None";
  const char* before = " includes ";
  for (const auto& [bit, name] : kClasses) {
    if (!(contexts & bit)) continue;
    text += before;
    text += name;
    before = " or ";
  }
  return text;
}

/// Source  mod_info.c, mod_info_show_cmd without a request
void DumpNodes(const std::vector<Node>& nodes, const std::string& indent, std::string& file, std::string& out) {
  for (const Node& node : nodes) {
    if (node.where.file != file) {
      file = node.where.file;
      out += indent + "# In file: " + file + "\n";
    }
    std::string line = std::to_string(node.where.line);
    if (line.size() < 3) line.insert(0, 3 - line.size(), ' ');
    out += indent + "# " + line + ":\n" + indent + node.name;
    if (!node.arguments.empty() && node.arguments != ">") out += " ";
    out += node.arguments + "\n";
    if (!node.name.starts_with('<')) continue;
    DumpNodes(node.children, indent + "  ", file, out);
    out += indent + "</" + node.name.substr(1) + ">\n";
  }
}

}  // namespace

std::string DumpHosts(const ServerConfig& config, const Accounts& accounts) {
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
  return text + Account("User", config.user, accounts.user_id, accounts.used) +
         Account("Group", config.group, accounts.group_id, accounts.used);
}

std::string DumpDirectives() {
  std::vector<const Directive*> sorted;
  for (const Directive& directive : Directives()) sorted.push_back(&directive);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return PlaceOf(a->module) < PlaceOf(b->module); });
  std::string text;
  for (const Directive* directive : sorted) {
    text += std::string(directive->name) + " (" + directive->module + ")\n\t" + directive->help +
            "\n\tAllowed in *.conf " + ContextText(directive->contexts) + "\n";
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

os::Result<std::string> DumpConfig(const ReadRequest& request, const FileSource& files) {
  auto tree = ReadTree(request, files);
  if (!tree) return tree.error();
  if (!tree.value().mistakes.empty()) return AllMistakes(std::move(tree.value().mistakes));
  std::string out;
  std::string file;
  DumpNodes(tree.value().nodes, "", file, out);
  return out;
}

}  // namespace httpd::config
