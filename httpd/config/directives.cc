#include "httpd/config/directives.h"

#include <algorithm>
#include <set>
#include <string>
#include <unordered_map>

#include "httpd/config/builder.h"
#include "httpd/config/directive_tables.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

/// Every directive, in the order in which they became known, and where each name is; the first of a name counts.
struct Table {
  std::vector<Directive> all;
  std::unordered_map<std::string, size_t> by_name;  ///< lower case
  void Add(const Directive& directive) {
    by_name.try_emplace(LowerCase(directive.name), all.size());
    all.push_back(directive);
  }
};

Table& TheTable() {
  static Table table = [] {
    Table made;
    for (const auto part : {SectionDirectives, HostDirectives, ProtocolDirectives, ProcessDirectives, IgnoredDirectives,
                            LogDirectives, DirectoryDirectives}) {
      for (const Directive& directive : part()) made.Add(directive);
    }
    return made;
  }();
  return table;
}

std::vector<ModuleName>& ModuleList() {
  static std::vector<ModuleName> modules = {
      {"core.c", "core_module"},           {"mod_so.c", "so_module"},
      {"http_core.c", "http_module"},      {"mod_log_config.c", "log_config_module"},
      {"mod_unixd.c", "unixd_module"},     {"event.c", "mpm_event_module"},
      {"mod_systemd.c", "systemd_module"}, {"mod_version.c", "version_module"},
  };
  return modules;
}

}  // namespace

const std::vector<Directive>& Directives() {
  return TheTable().all;
}

const std::vector<ModuleName>& BuiltInModules() {
  return ModuleList();
}

void RegisterModule(const ModuleName& name, const std::vector<Directive>& directives) {
  static std::set<std::string> registered;
  if (!registered.insert(name.identifier).second) return;
  // A module whose directives the core has kept so far is listed already.
  const bool is_listed = std::any_of(ModuleList().begin(), ModuleList().end(), [&name](const ModuleName& known) {
    return std::string_view(known.identifier) == name.identifier;
  });
  if (!is_listed) ModuleList().push_back(name);
  for (Directive directive : directives) {
    directive.module = name.file;
    TheTable().Add(directive);
  }
}

const Directive* FindDirective(std::string_view name) {
  const Table& table = TheTable();
  const auto found = table.by_name.find(LowerCase(name));
  return found == table.by_name.end() ? nullptr : &table.all[found->second];
}

std::string UnknownDirective(std::string_view name) {
  std::string text = "Invalid command '" + std::string(name) +
                     "', perhaps misspelled or defined by a module not included in the server configuration";
  constexpr size_t kLongestWorthAGuess = 40;
  const char* nearest = nullptr;
  size_t best = 3;
  for (const Directive& directive : TheTable().all) {
    if (name.size() > kLongestWorthAGuess || name.starts_with('<') != (directive.name[0] == '<')) continue;
    const size_t distance = EditDistance(name, directive.name);
    if (distance >= best || distance * 3 > name.size()) continue;
    best = distance;
    nearest = directive.name;
  }
  if (nearest) text += std::string(" (did you mean '") + nearest + (nearest[0] == '<' ? ">" : "") + "'?)";
  return text;
}

Complaint CheckArity(const Directive& directive, const std::vector<std::string>& words) {
  struct Row {
    Arity arity;
    size_t least;
    size_t most;
    const char* text;
  };
  static const Row kRows[] = {
      {Arity::kOne, 1, 1, "takes one argument"},
      {Arity::kOneOrTwo, 1, 2, "takes 1-2 arguments"},
      {Arity::kTwo, 2, 2, "takes two arguments"},
      {Arity::kTwoOrThree, 2, 3, "takes two or three arguments"},
      {Arity::kOneToThree, 1, 3, "takes one, two or three arguments"},
      {Arity::kThree, 3, 3, "takes three arguments"},
      {Arity::kAtLeastOne, 1, SIZE_MAX, "requires at least one argument"},
      {Arity::kAtLeastTwo, 2, SIZE_MAX, "requires at least two arguments"},
  };
  const std::string name = directive.name;
  if (directive.arity == Arity::kListen && (words.empty() || words.size() > 2))
    return name + " requires 1 or 2 arguments.";
  if (directive.arity == Arity::kFlag && words.size() != 1) return name + " must be On or Off";
  for (const Row& row : kRows) {
    if (row.arity != directive.arity) continue;
    const size_t filled = std::find(words.begin(), words.end(), "") - words.begin();
    if (filled < row.least || words.size() > row.most) return name + " " + row.text + ", " + directive.help;
  }
  return std::nullopt;
}

std::string_view SectionArguments(const Node& node) {
  const std::string_view text = node.arguments;
  return text.substr(0, text.rfind('>'));
}

}  // namespace httpd::config
