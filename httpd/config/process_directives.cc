#include "httpd/config/directive_tables.h"

#include <arpa/inet.h>
#include <climits>

#include "httpd/config/builder.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

using Words = std::vector<std::string>;
constexpr std::nullopt_t kFine = std::nullopt;

Complaint SetListen(Builder& builder, Scope&, const Node& node, const Words& words) {
  ListenAddress address;
  address.where = node.where;
  const std::string& text = words[0];
  const size_t colon = text.rfind(':');
  std::string host = colon == std::string::npos ? "" : text.substr(0, colon);
  const std::string port = colon == std::string::npos ? text : text.substr(colon + 1);
  if (colon == std::string::npos && text.find_first_not_of("0123456789") != std::string::npos) {
    return "Port must be specified";
  }
  const auto number = Port(port);
  if (!number) return "Invalid address or port";
  address.port = *number;
  if (host.starts_with('[')) {
    in6_addr numeric{};
    if (!host.ends_with(']') || ::inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &numeric) != 1) {
      return "Invalid address or port";
    }
    char canonical[INET6_ADDRSTRLEN];  // so that two spellings of one address are seen to be one
    address.host = ::inet_ntop(AF_INET6, &numeric, canonical, sizeof canonical);
  } else if (!host.empty() && host != "*") {
    if (!IsIpv4(host)) return "Listen takes a numeric address: '" + host + "' is not one (IPv6 goes in brackets)";
    if (host != "0.0.0.0") address.host = host;
  }
  address.is_protocol_said = words.size() > 1;
  address.protocol = address.is_protocol_said ? LowerCase(words[1]) : address.port == 443 ? "https" : "http";
  if (address.protocol != "http" && address.protocol != "https") {
    return "Listen protocol '" + words[1] + "' is not spoken here, only http and https are";
  }
  for (const ListenAddress& other : builder.config().listen) {
    if (other.port == address.port && other.host == address.host) {
      return "Cannot define multiple Listeners on the same IP:port";
    }
  }
  builder.config().listen.push_back(address);
  return kFine;
}

Complaint SetAcceptFilter(Builder& builder, Scope&, const Node&, const Words& words) {
  // Source  server/core.c set_accf_map, server/listen.c ap_apply_accept_filter: on Linux all filters but none are one
  builder.config().accept_filters[LowerCase(words[0])] = !SameIgnoringCase(words[1], "none");
  return kFine;
}

Complaint SetRuntimeDir(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().runtime_dir = WithoutTrailingSlash(builder.Absolute(words[0]));
  builder.config().runtime_dir_where = node.where;
  return kFine;
}

Complaint SetPidFile(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().pid_file = builder.Absolute(words[0]);
  builder.config().pid_file_where = node.where;
  return kFine;
}

Complaint SetUser(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().user = words[0];
  builder.config().user_where = node.where;
  return kFine;
}

Complaint SetGroup(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.config().group = words[0];
  builder.config().group_where = node.where;
  return kFine;
}

template <int ServerConfig::*kMember>
Complaint SetAnyInt(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeInt(node, words[0], INT_MIN, builder.config().*kMember);
}

Complaint SetOpenFileCache(Builder& builder, Scope&, const Node& node, const Words& words) {
  if (SameIgnoringCase(words[0], "off")) {
    builder.config().open_file_cache = 0;
    return kFine;
  }
  const auto number = Number(words[0]);
  if (!number || *number < 0 || *number > 1000000) return node.name + " must be Off or a number up to 1000000";
  builder.config().open_file_cache = static_cast<size_t>(*number);
  return kFine;
}

template <int ServerConfig::*kMember>
Complaint SetNonNegative(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeInt(node, words[0], 0, builder.config().*kMember);
}

Complaint SetMaxClients(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.Warn(node, "AH00521: WARNING: MaxClients is deprecated, use MaxRequestWorkers instead.");
  return TakeInt(node, words[0], INT_MIN, builder.config().max_request_workers);
}

Complaint SetMaxRequestsPerChild(Builder& builder, Scope&, const Node& node, const Words& words) {
  builder.Warn(node, "AH00545: WARNING: MaxRequestsPerChild is deprecated, use MaxConnectionsPerChild instead.");
  return TakeInt(node, words[0], 0, builder.config().max_connections_per_child);
}

Complaint SetListenBacklog(Builder& builder, Scope&, const Node& node, const Words& words) {
  int value = 0;
  if (auto complaint = TakeInt(node, words[0], INT_MIN, value)) return complaint;
  if (value <= 0) return "ListenBacklog must be > 0";
  builder.config().listen_backlog = value;
  return kFine;
}

Complaint SetExtendedStatus(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeFlag(node, words[0], builder.config().extended_status);
}

Complaint SetSeeRequestTail(Builder& builder, Scope&, const Node& node, const Words& words) {
  return TakeFlag(node, words[0], builder.config().see_request_tail);
}

// 0 leaves it to the system. Source  server/listen.c ap_set_send_buffer_size
template <int ServerConfig::*kMember>
Complaint SetBufferSize(Builder& builder, Scope&, const Node& node, const Words& words) {
  int value = 0;
  if (auto complaint = TakeInt(node, words[0], INT_MIN, value)) return complaint;
  if (value < 512 && value != 0) return node.name + " must be >= 512 bytes, or 0 for system default.";
  builder.config().*kMember = value;
  return kFine;
}

Complaint SetCoreDumpDirectory(Builder& builder, Scope&, const Node&, const Words& words) {
  const std::string directory = builder.Absolute(words[0]);
  if (!builder.files().is_directory(directory)) {
    return "CoreDumpDirectory " + directory + " does not exist";
  }
  builder.config().core_dump_directory = directory;
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;

using Arity::kFlag;
using Arity::kOne;

}  // namespace

// clang-format off
std::vector<Directive> ProcessDirectives() {
  return {
    {"DefaultRuntimeDir", "core.c", kInServer, kOne, "Common directory for run-time files (shared memory, locks, etc.)", kNo, SetRuntimeDir, "directory-path", "run"},
    {"Listen", "event.c", kInServer, Arity::kListen, "A port number or a numeric IP address and a port number, and an optional protocol", kNo, SetListen},
    {"ListenBacklog", "event.c", kInServer, kOne, "Maximum length of the queue of pending connections, as used by listen(2)", kNo, SetListenBacklog, "backlog", "511"},
    {"PidFile", "core.c", kInServer, kOne, "A file for logging the server process ID", kNo, SetPidFile, "filename", "httpd.pid in DefaultRuntimeDir"},
    {"User", "mod_unixd.c", kInServer, kOne, "Effective user id for this server", kNo, SetUser, "unix-userid"},
    {"Group", "mod_unixd.c", kInServer, kOne, "Effective group id for this server", kNo, SetGroup, "unix-group"},
    {"StartServers", "event.c", kInServer, kOne, "Number of child processes launched at server startup", kNo, SetAnyInt<&ServerConfig::start_servers>, "number", "one for each core"},
    {"MinSpareThreads", "event.c", kInServer, kOne, "Minimum number of idle threads, to handle request spikes", kNo, SetAnyInt<&ServerConfig::min_spare_threads>, "number"},
    {"MaxSpareThreads", "event.c", kInServer, kOne, "Maximum number of idle threads", kNo, SetAnyInt<&ServerConfig::max_spare_threads>, "number"},
    {"ServerLimit", "event.c", kInServer, kOne, "Maximum number of child processes of one generation", kNo, SetAnyInt<&ServerConfig::server_limit>, "number", "16"},
    {"ThreadsPerChild", "event.c", kInServer, kOne, "Number of event loops each child runs", kNo, SetAnyInt<&ServerConfig::threads_per_child>, "number", "1"},
    {"MaxRequestWorkers", "event.c", kInServer, kOne, "Maximum number of requests in progress at the same time", kNo, SetAnyInt<&ServerConfig::max_request_workers>, "number", "4096"},
    {"MaxClients", "event.c", kInServer, kOne, "Deprecated name of MaxRequestWorkers", kNo, SetMaxClients, "number"},
    {"MaxConnectionsPerChild", "core.c", kInServer, kOne, "Maximum number of connections a particular child serves before dying.", kNo, SetNonNegative<&ServerConfig::max_connections_per_child>, "number", "0"},
    {"OpenFileCache", "core.c", kInServer, kOne, "Off, or how many answers from files each thread keeps", kNo, SetOpenFileCache, "Off|number", "16384", "Answers from files that were asked for a moment ago are given again without looking at the file system: for the rest of the second in which they were made, and after that as long as the file, the .htaccess files on the way to it and whatever else was looked at have not changed. So a file that is replaced, changed or removed, and a new .htaccess file, count within a second. Small files are kept in memory, at most 16 MiB for each thread; of larger ones 256 stay open, or a 32nd of what the process may open. Not kept: what an authenticated user gets, what rewrite rules, expressions or programs have a part in, and answers to Range. Off also helps where files change without their times (some network file systems). Ours."},
    {"WorkerConnections", "event.c", kInServer, kOne, "Most client connections that one child holds at a time", kNo, SetNonNegative<&ServerConfig::worker_connections>, "number", "0", "When a child holds so many connections it closes those that are between two requests, the longest idle first; when there is none, new connections wait in the backlog. 0 means half of the descriptors that a process may have: an answer from a file needs a second one. MaxRequestWorkers bounds the requests that are worked on; those that only wait for a slow client to send or to take bytes are not among them, they are bounded by this."},
    {"MaxRequestsPerChild", "core.c", kInServer, kOne, "Maximum number of connections a particular child serves before dying. (DEPRECATED, use MaxConnectionsPerChild)", kNo, SetMaxRequestsPerChild, "number"},
    {"GracefulShutdownTimeout", "event.c", kInServer, kOne, "Maximum time in seconds to wait for child processes to complete transactions during shutdown", kNo, SetNonNegative<&ServerConfig::graceful_shutdown_timeout_s>, "seconds", "0"},
    {"GracefulRestartTimeout", "event.c", kInServer, kOne, "Maximum time in seconds to wait for the child processes of the previous generation after a graceful restart", kNo, SetNonNegative<&ServerConfig::graceful_restart_timeout_s>, "seconds", "0"},
    {"SendBufferSize", "event.c", kInServer, kOne, "Send buffer size in bytes", kNo, SetBufferSize<&ServerConfig::send_buffer_size>, "bytes", "0"},
    {"ReceiveBufferSize", "event.c", kInServer, kOne, "Receive buffer size in bytes", kNo, SetBufferSize<&ServerConfig::receive_buffer_size>, "bytes", "0"},
    {"AcceptFilter", "core.c", kInServer, Arity::kTwo, "Set the Accept Filter to use for a protocol", kNo, SetAcceptFilter, "protocol filter", "none for every protocol", "For the addresses whose Listen names that protocol (http where it names none). With any filter but none the kernel hands a connection over when its first bytes are there (TCP_DEFER_ACCEPT, 30 seconds where ListenTCPDeferAccept says nothing): that a client has connected wakes nobody, and a connection for one request costs a third less. A client that sends nothing is accepted when the time is over. The default is none, Apache's data: a graceful stop answers the first request of everybody who has connected before it, and it cannot see those that the kernel keeps back. A graceful restart and an upgrade keep them."},
    {"ListenTCPDeferAccept", "event.c", kInServer, kOne, "Value set for the socket option TCP_DEFER_ACCEPT if it is set", kNo, SetNonNegative<&ServerConfig::defer_accept_s>, "seconds", "0", "How long the kernel waits for the first bytes of a connection before it is accepted all the same, rounded up to 1, 3, 7, 15, 31... seconds; 0 = it does not wait. See AcceptFilter."},
    {"CoreDumpDirectory", "core.c", kInServer, kOne, "The location of the directory Apache changes to before dumping core", kNo, SetCoreDumpDirectory, "directory"},
    {"ExtendedStatus", "core.c", kInServer, kFlag, "\"On\" to track extended status information, \"Off\" to disable", kNo, SetExtendedStatus},
    {"SeeRequestTail", "core.c", kInServer, kFlag, "For extended status, \"On\" to see the last 63 chars of the request line, \"Off\" (default) to see the first 63", kNo, SetSeeRequestTail, "On|Off", "Off"},
  };
}
// clang-format on

}  // namespace httpd::config
