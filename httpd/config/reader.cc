#include "httpd/config/reader.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <tuple>
#include <utility>

#include "httpd/config/builder.h"
#include "httpd/config/flatten.h"
#include "httpd/config/lexer.h"
#include "httpd/config/shared_state.h"

namespace httpd::config {
namespace {

// Source  mod_log_config.c: the format of TransferLog, and what the nickname CLF stands for
constexpr char kCommonLogFormat[] = "%h %l %u %t \"%r\" %>s %b";

constexpr int kMostServers = 20000;         // Apache's MAX_SERVER_LIMIT
constexpr int kMostThreadsPerChild = 1000;  // event loops; far above any number of cores

void InheritSettings(const PerDirectory& from, PerDirectory& to) {
  if (!to.options) {
    if (from.options) {
      to.options = (*from.options | to.options_add) & ~to.options_remove;
    }
    const unsigned add = to.options_add;
    const unsigned remove = to.options_remove;
    to.options_add = (from.options_add & ~remove) | add;
    to.options_remove = (from.options_remove & ~add) | remove;
    if (to.options) to.options_add = to.options_remove = 0;
  }
  ModuleSlots modules = from.modules;
  modules.Merge(to.modules);
  to.modules = std::move(modules);
  to.error_documents.insert(from.error_documents.begin(), from.error_documents.end());
  to.error_texts.insert(from.error_texts.begin(), from.error_texts.end());
  to.conditional.insert(to.conditional.begin(), from.conditional.begin(), from.conditional.end());
}

}  // namespace

Builder::Builder(const Tree& tree, const ReadRequest& request, const FileSource& files)
    : tree_(tree), request_(request), files_(files) {
  config_.server_root = tree.server_root;
  config_.config_file = tree.config_file;
  config_.includes = tree.includes;
  for (const IncludedFile& file : tree.includes) config_.files.push_back(file.path);
  config_.defines = tree.define_names;
  config_.define_values = tree.define_values;
  config_.loaded_modules = tree.loaded_modules;
  config_.makes_unique_ids = std::find(tree.loaded_modules.begin(), tree.loaded_modules.end(), "unique_id_module") !=
                             tree.loaded_modules.end();
  config_.warnings = tree.warnings;
}

bool Builder::IsForbidden(const Directive& directive, const Scope& scope) {
  const Overrides& allowed = scope.htaccess->allowed;
  if ((directive.contexts & allowed.classes & kOverrideAny) != 0) return false;
  return std::find(allowed.names.begin(), allowed.names.end(), LowerCase(directive.name)) == allowed.names.end();
}

Complaint Builder::Misplaced(const Directive& directive, const Node& node, const Scope& scope) const {
  if (scope.htaccess) {
    // A section in an .htaccess file cannot say more than the file.
    return IsForbidden(directive, scope) ? Complaint(node.name + " not allowed here") : std::nullopt;
  }
  if (scope.section) {
    if (directive.contexts & kInSection) return std::nullopt;
    return node.name + " not allowed in " + scope.parent->name + "> context";
  }
  if (scope.in_virtual_host) {
    if (directive.contexts & kInHost) return std::nullopt;
    if (directive.contexts & kInServer) return node.name + " cannot occur within <VirtualHost> section";
    return node.name + " not allowed in <VirtualHost> context";
  }
  if (directive.contexts & kInServer) return std::nullopt;
  return node.name + " not allowed here";
}

Complaint Builder::ApplyOne(const Node& node, Scope& scope) {
  const Directive* directive = FindDirective(node.name);
  if (!directive) {
    if (!scope.htaccess || !scope.htaccess->allowed.ignore_unknown) return UnknownDirective(node.name);
    scope.htaccess->skipped.push_back("AH02302: Ignoring unknown directive " + node.name + " on line " +
                                      std::to_string(node.where.line) + " of " + node.where.file);
    return std::nullopt;
  }
  if (auto complaint = Misplaced(*directive, node, scope)) {
    if (!scope.htaccess || !scope.htaccess->allowed.ignore_forbidden) return complaint;
    scope.htaccess->skipped.push_back("AH02303: Ignoring directive " + node.name +
                                      ", which is not allowed here, on line " + std::to_string(node.where.line) +
                                      " of " + node.where.file);
    return std::nullopt;
  }
  std::vector<std::string> words;
  if (directive->arity != Arity::kRaw) {
    words = SplitWords(node.arguments);
    if (auto complaint = CheckArity(*directive, words)) return complaint;
  }
  if (!scope.section) {
    scope.draft.said.insert(directive->name);
    WarnAboutRepetition(*directive, node, scope);
  }
  auto complaint = directive->apply(*this, scope, node, words);
  if (!complaint) NoteSharedState(*directive, words, node.where, config_);
  return complaint;
}

bool Builder::Failed(const std::vector<Node>& nodes, Scope& scope) {
  bool failed = false;
  for (const Node& node : nodes) {
    const auto complaint = ApplyOne(node, scope);
    if (!complaint) continue;
    failed = true;
    if (complaint != kStop) mistakes_.push_back({node.order, SyntaxError(node.where, *complaint)});
  }
  return failed;
}

void Builder::InheritFromMain(HostDraft& draft) const {
  Host& to = draft.host;
  const Host& from = main_.host;
  const auto unsaid = [&](const char* directive) { return draft.said.count(directive) == 0; };
  if (unsaid("ServerName")) {
    to.server_name = from.server_name;
    to.server_port = from.server_port;
  }
  if (unsaid("ServerAdmin")) to.server_admin = from.server_admin;
  if (unsaid("DocumentRoot")) to.document_root = from.document_root;
  if (unsaid("ErrorLog")) to.error_log = from.error_log;
  LogLevels levels = from.log_levels;
  levels.Merge(to.log_levels);
  to.log_levels = std::move(levels);
  if (unsaid("ErrorLogFormat")) {
    to.error_log_format = from.error_log_format;
    to.error_log_request_formats = from.error_log_request_formats;
    to.error_log_connection_formats = from.error_log_connection_formats;
  }
  if (unsaid("KeepAlive")) to.keep_alive = from.keep_alive;
  if (unsaid("Protocols")) to.protocols = from.protocols;
  if (unsaid("ProtocolsHonorOrder")) to.protocols_honor_order = from.protocols_honor_order;
  if (unsaid("KeepAliveTimeout")) to.keep_alive_timeout_ms = from.keep_alive_timeout_ms;
  if (unsaid("MaxKeepAliveRequests")) to.max_keep_alive_requests = from.max_keep_alive_requests;
  if (unsaid("Timeout")) to.timeout_ms = from.timeout_ms;
  if (unsaid("HttpProtocolOptions")) to.registered_methods_only = from.registered_methods_only;
  if (unsaid("TraceEnable")) to.trace_enable = from.trace_enable;
  InheritSettings(from.settings, to.settings);
  to.sections.insert(to.sections.begin(), from.sections.begin(), from.sections.end());
}

/// What a format stands for in a host: its own nicknames, the main server's, CLF.
std::optional<std::string> Builder::NicknameOf(const HostDraft& draft, const std::string& name) const {
  if (const auto own = draft.formats.find(name); own != draft.formats.end()) return own->second;
  if (const auto inherited = main_.formats.find(name); inherited != main_.formats.end()) return inherited->second;
  if (name == "CLF") return kCommonLogFormat;
  return std::nullopt;
}

void Builder::SettleHost(HostDraft& draft) {
  std::string transfer = draft.transfer_format.empty() ? main_.transfer_format : draft.transfer_format;
  if (transfer.empty()) transfer = kCommonLogFormat;
  transfer = NicknameOf(draft, transfer).value_or(transfer);
  // Inherited logs have the nicknames of the place where they were said, but the default format of this host.
  const auto add = [&](HostDraft::Log entry, const HostDraft& said_in) {
    std::string& format = entry.log.format;
    if (entry.transfer) {
      format = transfer;
    } else if (auto meaning = NicknameOf(said_in, format)) {
      format = *meaning;
    } else if (format.find('%') == std::string::npos && &said_in == &draft) {
      config_.warnings.push_back(
          WarningText(entry.log.target.where, "WARNING: CustomLog format '" + format +
                                                  "' is not a nickname of LogFormat and has no % directive: every line "
                                                  "will say just that"));
    }
    draft.host.access_logs.push_back(std::move(entry.log));
  };
  for (const HostDraft::Log& entry : draft.logs) add(entry, draft);
  if (&draft == &main_) return;
  for (const HostDraft::Log& entry : main_.logs) {
    if (draft.logs.empty() || entry.log.is_global) add(entry, main_);
  }
}

void Builder::SettleProcesses() {
  ServerConfig& c = config_;
  const auto warn = [&](const std::string& text) { c.warnings.push_back(text); };
  const auto number = [](int value) { return std::to_string(value); };
  if (c.server_limit > kMostServers) {
    warn("AH00497: WARNING: ServerLimit of " + number(c.server_limit) + " exceeds compile-time limit of " +
         number(kMostServers) + " servers, decreasing to " + number(kMostServers) + ".");
    c.server_limit = kMostServers;
  } else if (c.server_limit < 1) {
    warn("AH00499: WARNING: ServerLimit of " + number(c.server_limit) + " not allowed, increasing to 1.");
    c.server_limit = 1;
  }
  if (c.threads_per_child > kMostThreadsPerChild) {
    warn("AH00507: WARNING: ThreadsPerChild of " + number(c.threads_per_child) + " exceeds ThreadLimit of " +
         number(kMostThreadsPerChild) + " threads, decreasing to " + number(kMostThreadsPerChild) + ".");
    c.threads_per_child = kMostThreadsPerChild;
  } else if (c.threads_per_child < 1) {
    warn("AH00509: WARNING: ThreadsPerChild of " + number(c.threads_per_child) + " not allowed, increasing to 1.");
    c.threads_per_child = 1;
  }
  // An event loop holds many requests, so Apache's other two rules (a multiple of ThreadsPerChild, at most ServerLimit
  // times ThreadsPerChild) would only take capacity away.
  if (c.max_request_workers < c.threads_per_child) {
    warn("AH00511: WARNING: MaxRequestWorkers of " + number(c.max_request_workers) +
         " is less than ThreadsPerChild of " + number(c.threads_per_child) + ", increasing to " +
         number(c.threads_per_child) +
         ". MaxRequestWorkers must be at least as large as the number of threads in a single server.");
    c.max_request_workers = c.threads_per_child;
  }
  if (Said("StartServers") && c.start_servers < 1) {
    warn("AH00517: WARNING: StartServers of " + number(c.start_servers) + " not allowed, increasing to 1.");
    c.start_servers = 1;
  } else if (c.start_servers > c.server_limit) {
    warn("WARNING: StartServers of " + number(c.start_servers) + " exceeds ServerLimit of " + number(c.server_limit) +
         ", decreasing to " + number(c.server_limit) + ".");
    c.start_servers = c.server_limit;
  }
  if (Said("MinSpareThreads") && c.min_spare_threads < 1) {
    warn("AH00519: WARNING: MinSpareThreads of " + number(c.min_spare_threads) +
         " not allowed, increasing to 1 to avoid almost certain server failure. Please read the documentation.");
    c.min_spare_threads = 1;
  }
  if (Said("MaxSpareThreads") && c.max_spare_threads <= c.min_spare_threads) {
    const int least =
        c.min_spare_threads < 1000000000 ? c.min_spare_threads + c.threads_per_child : c.min_spare_threads;
    warn("WARNING: MaxSpareThreads of " + number(c.max_spare_threads) + " is not above MinSpareThreads of " +
         number(c.min_spare_threads) + ", increasing to " + number(least) + ".");
    c.max_spare_threads = least;
  }
}

void Builder::WarnAboutListeners() {
  for (const ListenAddress& any : config_.listen) {
    if (!any.host.empty() && any.host != "::") continue;
    const bool v6 = !any.host.empty();
    for (const ListenAddress& one : config_.listen) {
      const bool same_family = (one.host.find(':') != std::string::npos) == v6;
      if (&one == &any || one.port != any.port || one.host.empty() || one.host == any.host || !same_family) continue;
      config_.warnings.push_back(WarningText(
          one.where, "WARNING: Listen " + (v6 ? "[" + one.host + "]" : one.host) + ":" + std::to_string(one.port) +
                         " collides with Listen " + (v6 ? "[::]:" : "") + std::to_string(any.port) + " on line " +
                         std::to_string(any.where.line) + " of " + any.where.file + ", which takes every address"));
    }
  }
}

void Builder::WarnAboutRepetition(const Directive& directive, const Node& node, const Scope& scope) {
  static constexpr std::string_view kOnce[] = {
      "CoreDumpDirectory", "DefaultRuntimeDir", "DocumentRoot", "ErrorLog", "Group", "PidFile", "ServerName", "User"};
  if (std::find(std::begin(kOnce), std::end(kOnce), directive.name) == std::end(kOnce)) return;
  const SourceLine& host = scope.draft.host.where;
  const auto [before, is_new] =
      said_by_.try_emplace({host.file + ":" + std::to_string(host.line), directive.name}, node);
  if (is_new) return;
  const Node first = std::exchange(before->second, node);
  const bool by_hand = !first.where.file.starts_with('/') || !node.where.file.starts_with('/');  // -c and -C replace
  if (by_hand || first.arguments == node.arguments) return;
  Warn(node, "WARNING: " + std::string(directive.name) + " was " + first.arguments + " on line " +
                 std::to_string(first.where.line) + " of " + first.where.file + "; this line replaces it");
}

void Builder::WarnAboutHosts() {
  struct Name {
    std::string address;
    std::string name;
    bool operator<(const Name& other) const { return std::tie(address, name) < std::tie(other.address, other.name); }
  };
  std::map<Name, const Host*> names;
  const auto listens = [this](uint16_t port) {
    return port == 0 || std::any_of(config_.listen.begin(), config_.listen.end(),
                                    [port](const ListenAddress& listen) { return listen.port == port; });
  };
  for (size_t i = 0; i < config_.virtual_hosts.size(); ++i) {
    const Host& host = config_.virtual_hosts[i];
    const bool is_named = virtual_hosts_[i].said.count("ServerName") > 0;  // otherwise it has the main server's
    for (const Host::Address& address : host.addresses) {
      const std::string text = address.host + ":" + (address.port == 0 ? "*" : std::to_string(address.port));
      if (!config_.listen.empty() && !listens(address.port)) {
        config_.warnings.push_back(WarningText(host.where, "WARNING: nothing listens on port " +
                                                               std::to_string(address.port) + " of <VirtualHost " +
                                                               text + ">: it never answers"));
      }
      std::vector<std::string> own = host.server_aliases;
      if (is_named) own.push_back(LowerCase(host.server_name));
      for (const std::string& name : own) {
        const auto [other, is_new] = names.try_emplace({text, name}, &host);
        if (is_new || other->second == &host) continue;
        config_.warnings.push_back(WarningText(host.where, "WARNING: <VirtualHost " + text + "> never answers for " +
                                                               name + ": that is a name of the one on line " +
                                                               std::to_string(other->second->where.line) + " of " +
                                                               other->second->where.file));
      }
    }
  }
}

os::Result<HtaccessFile> Builder::RunHtaccess(Section section, const Overrides& allowed, const ServerConfig& server) {
  server_ = &server;
  HtaccessFile out;
  out.section = std::move(section);
  const HtaccessScope htaccess{allowed, out.skipped};
  Scope top{main_, false, &out.section, out.section.settings, nullptr, nullptr, &htaccess};
  if (Failed(tree_.nodes, top)) return mistakes_.front().error;
  for (std::string& warning : config_.warnings) out.skipped.push_back(std::move(warning));
  return out;
}

os::Result<ServerConfig> Builder::Run() {
  Scope top{main_, false, nullptr, main_.host.settings, nullptr, nullptr};
  mistakes_ = tree_.mistakes;
  Failed(tree_.nodes, top);
  if (!mistakes_.empty()) return AllMistakes(std::move(mistakes_));
  ServerConfig& c = config_;
  if (c.runtime_dir.empty()) c.runtime_dir = Absolute("run");
  if (c.pid_file.empty()) c.pid_file = AbsolutePath(c.runtime_dir, "httpd.pid");
  Host& host = main_.host;
  if (host.document_root.empty()) {
    host.document_root = Absolute("htdocs");
    if (request_.check_document_root && !files_.is_directory(host.document_root)) {
      c.warnings.push_back("AH00112: Warning: DocumentRoot [" + host.document_root + "] does not exist");
    }
  }
  if (host.error_log.kind == LogTarget::Kind::kNone) {
    host.error_log.kind = LogTarget::Kind::kFile;
    host.error_log.text = Absolute("logs/error_log");
  }
  SettleHost(main_);
  for (HostDraft& draft : virtual_hosts_) {
    SettleHost(draft);
    InheritFromMain(draft);
    c.virtual_hosts.push_back(std::move(draft.host));
  }
  c.main = std::move(host);
  SettleProcesses();
  WarnAboutListeners();
  WarnAboutHosts();
  return std::move(config_);
}

os::Result<ServerConfig> ReadConfiguration(const ReadRequest& request, const FileSource& files) {
  auto tree = ReadTree(request, files);
  if (!tree) return tree.error();
  auto config = Builder(tree.value(), request, files).Run();
  if (!config) return config.error();
  auto flattened = Flatten(tree.value(), request, files);
  if (flattened) {
    config.value().flattened = std::move(flattened).value();
  } else {
    config.value().not_flattened = flattened.error().Text();
  }
  return config;
}

os::Result<RuntimePlaces> ReadRuntimePlaces(const ReadRequest& request, const FileSource& files) {
  auto tree = ReadTree(request, files);
  if (!tree) return tree.error();
  if (!tree.value().complete) return AllMistakes(std::move(tree.value().mistakes));
  tree.value().mistakes.clear();  // of what is looked at here there is none
  std::erase_if(tree.value().nodes, [](const Node& node) {
    const std::string name = LowerCase(node.name);
    return name != "defaultruntimedir" && name != "pidfile";  // ServerRoot is in the tree already
  });
  auto config = Builder(tree.value(), request, files).Run();
  if (!config) return config.error();
  return RuntimePlaces{config.value().runtime_dir, config.value().pid_file};
}

}  // namespace httpd::config
