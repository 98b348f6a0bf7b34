// Directives of Apache that have nothing to set here. They are accepted, so that existing configurations load, and the
// first of each name is told about.

#include "httpd/config/builder.h"
#include "httpd/config/directive_tables.h"
#include "httpd/config/directive_values.h"
#include "httpd/config/lexer.h"

namespace httpd::config {
namespace {

constexpr std::nullopt_t kFine = std::nullopt;

using Words = std::vector<std::string>;
using Arity::kAtLeastOne;
using Arity::kOne;
using Arity::kTwo;

// What is wrong for Apache is wrong here too. Source  server/util_mutex.c ap_set_mutex
Complaint SetMutex(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  const std::string mechanism = LowerCase(words[0].substr(0, words[0].find(':')));
  for (const char* known :
       {"default", "none", "no", "fcntl", "flock", "file", "sysvsem", "sem", "posixsem", "pthread"}) {
    if (mechanism == known) return SetMeaningless(builder, scope, node, words);
  }
  return "Invalid Mutex argument " + words[0] +
         " (Mutex mechanisms are: 'none', 'default', 'flock:/path/to/file', 'fcntl:/path/to/file', "
         "'file:/path/to/file', 'pthread', 'sysvsem', 'posixsem', 'sem')";
}

Complaint SetEnableMmap(Builder& builder, Scope& scope, const Node& node, const Words& words) {
  if (!SameIgnoringCase(words[0], "on") && !SameIgnoringCase(words[0], "off")) return "parameter must be 'on' or 'off'";
  return SetMeaningless(builder, scope, node, words);
}

Complaint SetNameVirtualHost(Builder& builder, Scope&, const Node& node, const Words&) {
  // Source  server/core.c ap_set_name_virtual_host
  builder.Warn(node, "AH00548: NameVirtualHost has no effect and will be removed in the next release");
  return kFine;
}

constexpr OnRead kNo = OnRead::kNo;
constexpr char kHelp[] = "Accepted, has no meaning here";

}  // namespace

// clang-format off
std::vector<Directive> IgnoredDirectives() {
  return {
    {"AsyncRequestWorkerFactor", "event.c", kInServer, kOne, kHelp, kNo, SetMeaningless,
     "factor", "", "a loop holds any number of connections; MaxRequestWorkers bounds the requests in progress."},
    {"DefaultStateDir", "core.c", kInServer, kOne, "Common directory for persistent state (databases, long-lived caches, etc.)", kNo, SetMeaningless,
     "directory", "", "no module keeps state on disk."},
    {"EnableExceptionHook", "event.c", kInServer, kOne, kHelp, kNo, SetMeaningless,
     "On|Off", "", "there are no hooks after a crash; the kernel writes a core file to CoreDumpDirectory."},
    {"EnableMMAP", "core.c", kAnywhere | kOverrideFileInfo, kOne, "Controls whether memory-mapping may be used to read files", kNo, SetEnableMmap,
     "On|Off", "", "files are read or sent by sendfile(2), never mapped: one that is cut short cannot end a process."},
    {"FlushMaxPipelined", "core.c", kInHosts, kOne, "Maximum number of pipelined responses (pending) above which they are flushed to the network", kNo, SetMeaningless,
     "number", "", "answers are sent as soon as there is nothing more to read."},
    {"FlushMaxThreshold", "core.c", kInHosts, kOne, "Maximum threshold above which pending data are flushed to the network", kNo, SetMeaningless,
     "bytes", "", "answers are sent as soon as there is nothing more to read."},
    {"LimitXMLRequestBody", "core.c", kAnywhere | kOverrideAny, kOne, "Limit (in bytes) on maximum size of an XML-based request body", kNo, SetMeaningless,
     "bytes", "", "no request body is read as XML; LimitRequestBody holds for all of them."},
    {"ListenCoresBucketsRatio", "event.c", kInServer, kOne, "Ratio between the number of CPU cores (online) and the number of listeners buckets", kNo, SetMeaningless,
     "ratio", "", "all loops listen on the same sockets and only one is woken for a connection."},
    {"LoadFile", "mod_so.c", kInServer, kAtLeastOne, "shared object file or library to load into the server at runtime", kNo, SetMeaningless,
     "filename ...", "", "every module is built in and finds its libraries by itself."},
    {"MaxMemFree", "core.c", kInServer, kOne, "Maximum number of 1k blocks a particular child's allocator may hold.", kNo, SetMeaningless,
     "KBytes", "", "memory is freed when a request ends; there are no pools that keep it."},
    {"MaxSpareServers", "prefork.c", kInServer, kOne, "Maximum number of idle children", kNo, SetMeaningless,
     "number", "", "a child serves many connections at once; MaxSpareThreads bounds the idle loops."},
    {"MinSpareServers", "prefork.c", kInServer, kOne, "Minimum number of idle children, to handle request spikes", kNo, SetMeaningless,
     "number", "", "a child serves many connections at once; MinSpareThreads asks for idle loops."},
    {"Mutex", "core.c", kInServer, kAtLeastOne, "mutex (or \"default\") and mechanism", kNo, SetMutex,
     "mechanism [default|mutex-name] ... [OmitPID]", "", "processes share only memory that needs no lock."},
    {"NameVirtualHost", "core.c", kInServer, kOne, "A numeric IP address:port, or the name of a host", kNo, SetNameVirtualHost,
     "addr[:port]", "", "Every address of a <VirtualHost> is a name-based one since Apache 2.4."},
    {"ReadBufferSize", "core.c", kAnywhere, kOne, "Size (in bytes) of the memory buffers used to read data", kNo, SetMeaningless,
     "bytes", "", "buffers grow and shrink with what they hold."},
    {"ScoreBoardFile", "core.c", kInServer, kOne, "A file for Apache to maintain runtime process management information", kNo, SetMeaningless,
     "file-path", "", "the scoreboard is shared memory without a name; server-status shows it."},
    {"ThreadLimit", "event.c", kInServer, kOne, "Maximum number of worker threads per child process for this run of Apache - Upper limit for ThreadsPerChild", kNo, SetMeaningless,
     "number", "", "ThreadsPerChild can be changed with a graceful restart."},
    {"ThreadStackSize", "core.c", kInServer, kOne, "Size in bytes of stack used by threads handling client connections", kNo, SetMeaningless,
     "size", "", "a loop needs the same stack for one connection as for thousands."},
  };
}
// clang-format on

}  // namespace httpd::config
