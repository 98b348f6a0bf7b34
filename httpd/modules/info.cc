// mod_info: how the server is configured. Source  httpd 2.4 manual, mod_info
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "httpd/config/builder.h"
#include "httpd/config/lexer.h"
#include "httpd/http/values.h"
#include "httpd/modules/access_log.h"
#include "httpd/modules/module_list.h"

namespace httpd::modules {

namespace {

using config::Directive;

struct InfoSettings final : config::ModuleSettings {
  std::vector<std::pair<std::string, std::string>> about;  ///< module's file, HTML

  std::unique_ptr<ModuleSettings> MergedWith(const ModuleSettings& other) const override {
    auto out = std::make_unique<InfoSettings>(*this);
    const auto& inner = static_cast<const InfoSettings&>(other);
    out->about.insert(out->about.end(), inner.about.begin(), inner.about.end());
    return out;
  }
};

config::Complaint AddModuleInfo(config::Builder&, config::Scope& scope, const config::Node&,
                                const std::vector<std::string>& words) {
  config::SettingsOf<InfoSettings>(scope).about.emplace_back(words[0], words[1]);
  return std::nullopt;
}

const std::vector<Directive>& Directives() {
  static const std::vector<Directive> table = {
      {"AddModuleInfo", "mod_info.c", config::kInHosts, config::Arity::kTwo,
       "a module name and additional information on that module", config::OnRead::kNo, AddModuleInfo,
       "module-name string", "", "HTML that server-info shows with the module, which is named by its file: mod_dir.c."},
  };
  return table;
}

/// One line of the configuration as it was read: the copy in one file says where each line was.
struct ConfigLine {
  std::string file;
  int line = 0;
  size_t depth = 0;
  std::string name;  ///< with the '<' of a section, "</" of its end
  std::string arguments;
};

/// Undoes what flatten.cc puts in so that the copy means the same: ${NAME} of its two own definitions.
std::string WithoutHelp(std::string text, const std::map<std::string, std::string>& own) {
  for (const auto& [name, value] : own) {
    for (size_t at = 0; (at = text.find(name, at)) != std::string::npos; at += value.size()) {
      text.replace(at, name.size(), value);
    }
  }
  return text;
}

std::vector<ConfigLine> LinesOf(const std::string& flattened) {
  std::vector<ConfigLine> out;
  std::map<std::string, std::string> own;
  std::string file;
  int line = 0;
  bool in_file = false;
  for (size_t at = 0; at < flattened.size();) {
    const size_t end = std::min(flattened.find('\n', at), flattened.size());
    std::string text = flattened.substr(at, end - at);
    at = end + 1;
    const size_t depth = std::min(text.find_first_not_of(' '), text.size());
    text.erase(0, depth);
    if (text.starts_with("# ")) {
      const size_t colon = text.rfind(':');
      const bool is_place = colon != std::string::npos && text.starts_with("# /") &&
                            text.find_first_not_of("0123456789", colon + 1) == std::string::npos;
      if (is_place) {
        file = text.substr(2, colon - 2);
        line = std::atoi(text.c_str() + colon + 1);
        in_file = true;
      }
      continue;
    }
    if (text.starts_with("Define BATON_")) {
      const size_t name_end = text.find(' ', 7);
      own["${" + text.substr(7, name_end - 7) + "}"] = text.ends_with("\"$\"") ? "$" : "";
      continue;
    }
    if (!in_file || text.empty()) continue;
    ConfigLine entry;
    entry.depth = depth / 2;
    text = WithoutHelp(std::move(text), own);
    const size_t blank = std::min(text.find(' '), text.size());
    entry.name = text.substr(0, blank);
    entry.arguments = text.substr(std::min(blank + 1, text.size()));
    if (entry.name.starts_with("</")) {
      out.push_back(std::move(entry));
      continue;
    }
    entry.file = file;
    entry.line = line++;
    out.push_back(std::move(entry));
  }
  return out;
}

std::string Blanks(size_t count) {
  std::string out;
  for (size_t i = 0; i < count; ++i) out += "&nbsp;";
  return out;
}

/// @param module  only the directives of this one, with the sections around them; "" = all
void AppendConfiguration(const std::vector<ConfigLine>& lines, const std::string& module, std::string& out) {
  std::string file;
  std::vector<const ConfigLine*> open;  // sections around, those that were written first
  size_t written = 0;
  const auto write = [&](const ConfigLine& entry) {
    if (!entry.file.empty() && entry.file != file) {
      file = entry.file;
      out += "<dd><tt><strong>In file: " + http::EscapeHtml(file) + "</strong></tt></dd>\n";
    }
    const bool is_end = entry.name.starts_with("</");
    const std::string number = is_end ? "" : std::to_string(entry.line);
    constexpr size_t kWidth = 4;
    out += "<dd><tt>" + Blanks(number.size() < kWidth ? kWidth - number.size() : 0) + number + ":&nbsp;" +
           Blanks(2 * entry.depth) + http::EscapeHtml(entry.name);
    if (entry.name.starts_with('<')) {
      out += (entry.arguments.empty() ? "" : " ") + http::EscapeHtml(entry.arguments);
    } else if (!entry.arguments.empty()) {
      out += " <i>" + http::EscapeHtml(entry.arguments) + "</i>";
    }
    out += is_end ? "</tt></dd>" : "</tt></dd>\n";
  };
  for (const ConfigLine& entry : lines) {
    if (entry.name.starts_with("</")) {
      if (open.empty()) continue;
      open.pop_back();
      if (written <= open.size()) continue;
      written = open.size();
      write(entry);
      continue;
    }
    const Directive* directive = config::FindDirective(entry.name);
    const bool is_shown = module.empty() || (directive && directive->module == module);
    const bool is_section = entry.name.starts_with('<');
    if (is_shown) {
      for (; written < open.size(); ++written) write(*open[written]);
      write(entry);
    }
    if (!is_section) continue;
    open.push_back(&entry);
    if (is_shown) written = open.size();
  }
}

using Hook = std::pair<const char*, bool (*)(const Module&)>;

/// The stations of a request under the names that Apache's page has for them.
const std::vector<Hook>& Hooks() {
  static const std::vector<Hook> hooks = {
      {"Post-Read Request", [](const Module& m) { return m.early != nullptr; }},
      {"Translate Name", [](const Module& m) { return m.translate != nullptr; }},
      {"Header Parse", [](const Module& m) { return m.headers != nullptr; }},
      {"Check Access", [](const Module& m) { return m.access != nullptr; }},
      {"Verify User ID", [](const Module& m) { return m.authenticate != nullptr; }},
      {"Verify User Access", [](const Module& m) { return m.authorize != nullptr; }},
      {"Check Type", [](const Module& m) { return m.type != nullptr; }},
      {"Fixups", [](const Module& m) { return m.fixup != nullptr; }},
      {"Insert Filters", [](const Module& m) { return m.content || m.filter || m.output; }},
      {"Content Handlers", [](const Module& m) { return m.handle != nullptr; }},
      {"Logging", [](const Module& m) { return m.log != nullptr; }},
  };
  return hooks;
}

std::vector<std::string> ModuleFiles() {
  std::vector<std::string> out;
  for (const config::ModuleName& name : config::BuiltInModules()) out.emplace_back(name.file);
  std::sort(out.begin(), out.end());
  return out;
}

void AppendModule(const RequestState& state, const std::vector<ConfigLine>& lines, const std::string& file,
                  std::string& out) {
  const auto known = Modules();
  const auto found = std::find_if(known.begin(), known.end(), [&](const Module* m) { return m->name.file == file; });
  const Module* module = found == known.end() ? nullptr : *found;
  out += "<dl><dt><a name=\"" + file + "\"><strong>Module Name:</strong></a> <font size=\"+1\"><tt><a href=\"?" + file +
         "\">" + file + "</a></tt></font></dt>\n<dt><strong>Content handlers:</strong> <tt> <em>" +
         (module && module->handle ? "yes" : "none") + "</em></tt></dt>";
  out += "<dt><strong>Configuration Phase Participation:</strong>\n";
  out += module && module->directives ? "<tt>Create Directory Config</tt>, <tt>Merge Directory Configs</tt></dt>"
                                      : "<tt> <em>none</em></tt></dt>";
  std::string phases;
  for (const auto& [name, has] : Hooks()) {
    if (module && has(*module)) phases += (phases.empty() ? "<tt>" : ", <tt>") + std::string(name) + "</tt>";
  }
  out += "<dt><strong>Request Phase Participation:</strong>\n" +
         (phases.empty() ? std::string("<tt> <em>none</em></tt>") : phases) +
         "</dt>\n<dt><strong>Module Directives:</strong></dt>";
  bool has_directives = false;
  for (const Directive& directive : config::Directives()) {
    if (directive.module != file) continue;
    has_directives = true;
    const std::string name = http::EscapeHtml(directive.name);
    out += "<dd><tt>" + name + (directive.name[0] == '<' ? "&gt;" : "") + " - <i>" + http::EscapeHtml(directive.help) +
           "</i></tt></dd>\n";
  }
  if (!has_directives) out += "<dd><tt> none</tt></dd>\n";
  if (has_directives) {
    out += "<dt><strong>Current Configuration:</strong></dt>\n";
    AppendConfiguration(lines, file, out);
  }
  if (const auto* settings = HostSettingsFor<InfoSettings>(state)) {
    for (const auto& [name, text] : settings->about) {
      if (name != file) continue;
      out += "<dt><strong>Additional Information:</strong>\n</dt><dd>" + text + "</dd>";
    }
  }
  out += "</dl><hr />\n";
}

void AppendServer(RequestState& state, std::string& out) {
  const Site& site = state.engine->site();
  const config::ServerConfig& config = site.config();
  const auto row = [&out](const char* name, const std::string& value) {
    out += std::string("<dt><strong>") + name + ":</strong> <tt>" + http::EscapeHtml(value) + "</tt></dt>\n";
  };
  out += "<dl>";
  row("Server Version", site.server_name());
  row("Server Built", __DATE__ " " __TIME__);
  row("Hostname/port", std::string(HostOf(state.head().authority)) + ":" + std::to_string(state.request->local_port));
  row("Timeouts", "connection: " + std::to_string(state.host->host->timeout_ms / 1000) +
                      "    keep-alive: " + std::to_string(state.host->host->keep_alive_timeout_ms / 1000));
  row("MPM Name", "event");
  row("MPM Information", "Max Daemons: " + std::to_string(config.server_limit) + " Threaded: yes Forked: yes");
  row("Server Architecture", std::to_string(8 * sizeof(void*)) + "-bit");
  row("Server Root", config.server_root);
  row("Config File", config.config_file);
  out += "</dl><hr />";
}

void AppendHooks(char link, std::string& out) {
  out += "<h2><a name=\"request_hooks\">Request Hooks</a></h2>\n<dl>";
  for (const auto& [name, has] : Hooks()) {
    out += "<dt><strong>" + std::string(name) + ":</strong>\n <br /><tt>\n";
    int order = 0;
    for (const Module* module : Modules()) {
      if (!has(*module)) continue;
      const std::string number = std::to_string(++order);
      out += "&nbsp;&nbsp; " + std::string(number.size() < 2 ? "0" : "") + number + " <a href=\"" + link +
             module->name.file + "\">" + module->name.file + "</a> <br/>";
    }
    out += "\n  </tt>\n</dt>\n";
  }
  out += "</dl>\n<hr />\n";
}

void AppendOverview(const std::vector<std::string>& files, std::string& out) {
  out +=
      "<dl><dt><tt>Subpages:<br /><a href=\"?config\">Configuration Files</a>, <a href=\"?server\">Server "
      "Settings</a>, "
      "<a href=\"?list\">Module List</a>, <a href=\"?hooks\">Active Hooks</a></tt></dt></dl><hr /><dl><dt><tt>Sections:"
      "<br /><a href=\"#modules\">Loaded Modules</a>, <a href=\"#server\">Server Settings</a>, <a "
      "href=\"#request_hooks\">Request Hooks</a></tt></dt></dl><hr /><h2><a name=\"modules\">Loaded Modules</a></h2>"
      "<dl><dt><tt>";
  for (const std::string& file : files) out += "<a href=\"#" + file + "\">" + file + "</a>, ";
  out += "</tt></dt></dl><hr />";
}

Verdict Handle(RequestState& state) {
  if (state.handler != "server-info") return Verdict::Declined();
  const http::Method method = state.head().method;
  if (method != http::Method::kGet && method != http::Method::kHead) return Verdict::Declined();
  const config::ServerConfig& config = state.engine->site().config();
  const std::string query = state.has_query ? state.query : "";
  const std::vector<std::string> files = ModuleFiles();
  std::string& out = state.response->body;
  out =
      "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n"
      "\"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n<html xmlns=\"http://www.w3.org/1999/xhtml\">\n"
      "<head>\n  <title>Server Information</title>\n</head>\n<body><h1 style=\"text-align: center\">Apache Server "
      "Information</h1>\n";
  const std::vector<ConfigLine> lines = LinesOf(config.flattened);
  if (query == "list") {
    out += "<dl><dt>Server Module List</dt>";
    for (const std::string& file : files) out += "<dd>" + file + "</dd>";
    out += "</dl><hr />";
  } else if (query == "config") {
    out += "<dl><dt><strong>Configuration:</strong>\n</dt>";
    AppendConfiguration(lines, "", out);
    if (config.flattened.empty()) out += "<dd><tt>" + http::EscapeHtml(config.not_flattened) + "</tt></dd>\n";
    out += "</dl><hr />";
  } else if (query == "server") {
    AppendServer(state, out);
  } else if (query == "hooks") {
    AppendHooks('?', out);
  } else if (query.empty()) {
    AppendOverview(files, out);
    out += "<h2><a name=\"server\">Server Settings</a></h2>";
    AppendServer(state, out);
    AppendHooks('#', out);
    for (const std::string& file : files) AppendModule(state, lines, file, out);
  } else if (std::find(files.begin(), files.end(), query) != files.end()) {
    AppendModule(state, lines, query, out);
  } else {
    out += "<p><b>No such module</b></p>\n";
  }
  out += state.engine->Signature(state) + "</body></html>\n";
  AppendField(state.response->fields, "Content-Type", "text/html; charset=ISO-8859-1");
  state.is_success = true;
  return Verdict::Done();
}

}  // namespace

const Module kInfo = {.name = {"mod_info.c", "info_module"},
                      .directives = Directives,
                      .applies = nullptr,
                      .always = true,
                      .handle = Handle,
                      .repeats = DependsOnNothing};

}  // namespace httpd::modules
