#pragma once

#include <string>

#include "httpd/config/reader.h"
#include "httpd/modules/module.h"

namespace httpd::modules {

/// What the reader says about a configuration with these lines; "" = it takes them.
inline std::string ComplaintAbout(const std::string& lines) {
  RegisterModules();
  config::FileSource files;
  files.read = [&lines](const std::string&) -> os::Result<std::string> { return "ServerRoot /\n" + lines + "\n"; };
  files.expand = [](const std::string&) -> os::Result<std::vector<std::string>> { return std::vector<std::string>(); };
  files.is_directory = [](const std::string&) { return true; };
  files.environment = [](const std::string&) { return std::optional<std::string>(); };
  config::ReadRequest request;
  request.server_root = "/";
  request.config_file = "/test.conf";
  const auto read = config::ReadConfiguration(request, files);
  return read ? "" : read.error().Text();
}

}  // namespace httpd::modules
