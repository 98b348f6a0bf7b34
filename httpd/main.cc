// httpd: a full HTTP server that reads Apache-style configuration. See httpd(8).

#include <cstdio>
#include <string>
#include <vector>

#include "httpd/config/command_line.h"
#include "httpd/process/command.h"

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  auto options = httpd::config::ParseCommandLine(arguments);
  if (!options) {
    std::fprintf(stderr, "%s\n%s", options.error().what.c_str(),
                 httpd::config::Usage(arguments.empty() ? "httpd" : arguments[0]).c_str());
    return 1;
  }
  return httpd::process::RunCommand(options.value());
}
