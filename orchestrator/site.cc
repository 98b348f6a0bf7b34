#include "orchestrator/site.h"

#include <unistd.h>

#include "os/process.h"

namespace orchestrator {

os::Result<httpd::Program> ProgramOf(const Options& options) {
  std::error_code failed;
  httpd::Program program;
  program.binary = options.binary;
  if (options.binary.empty()) {
    program.binary = std::filesystem::read_symlink("/proc/self/exe", failed).parent_path() / "httpd";
  }
  if (::access(program.binary.c_str(), X_OK) != 0) {
    const int sys = errno;
    auto error = os::SysError(sys, "cannot run the server " + program.binary.string());
    if (options.binary.empty())
      error.what = "there is no httpd beside this program: say which with --binary PATH; " + error.what;
    return error;
  }
  program.server_root = options.server_root;
  program.config_file = options.config_file;
  for (const std::string& name : options.defines) {
    program.arguments.push_back("-D");
    program.arguments.push_back(name);
  }
  program.environment = os::Environment({"NOTIFY_SOCKET", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"});
  program.directory = std::filesystem::current_path(failed);
  if (failed) program.directory = "/";
  return program;
}

os::Result<Site> FindSite(const Options& options) {
  Site site;
  auto program = ProgramOf(options);
  if (!program) return program.error();
  site.program = std::move(program).value();
  auto config = httpd::AskConfig(site.program);
  if (!config) {
    os::Error error = config.error();
    error.what = "the configuration is not usable: " + error.what;
    return error;
  }
  site.config = std::move(config).value();
  return site;
}

}  // namespace orchestrator
