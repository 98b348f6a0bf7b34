#include <cstddef>
#include <cstdint>
#include <string>

#include "httpd/config/reader.h"

// Any bytes as httpd.conf: the reader returns, with values or with one error, and the dumps can print what it returned.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace httpd::config;
  const std::string text(reinterpret_cast<const char*>(data), size);
  FileSource files;
  files.read = [&](const std::string& path) -> os::Result<std::string> {
    if (path.ends_with("httpd.conf") || path.ends_with("self")) return text;
    if (path.ends_with("more")) return std::string("ServerAdmin x\nDefine M ${M}m\n");
    return os::Error{os::ErrorKind::kNotFound, 2, "open " + path};
  };
  files.expand = [](const std::string&) -> os::Result<std::vector<std::string>> {
    return std::vector<std::string>{"/more", "/more"};
  };
  files.is_directory = [](const std::string& path) { return path.size() % 2 == 0; };
  files.environment = [](const std::string& name) -> std::optional<std::string> {
    if (name == "E") return "value of E";
    return std::nullopt;
  };
  ReadRequest request;
  request.server_root = "/s";
  request.config_file = "httpd.conf";
  request.defines = {"X"};
  const auto result = ReadConfiguration(request, files);
  if (!result) {
    if (result.error().what.empty()) __builtin_trap();
    return 0;
  }
  if (DumpHosts(result.value(), {}).empty() || DumpIncludes(result.value()).empty()) __builtin_trap();
  return 0;
}
