#include "httpd/config/htaccess.h"

#include "httpd/config/builder.h"
#include "httpd/config/tree.h"

namespace httpd::config {
namespace {

constexpr size_t kMostBytes = 256U << 10;

/// An .htaccess file includes nothing and sees no environment of the server: that is for the administrator.
FileSource NoFiles() {
  FileSource files;
  files.read = [](const std::string& path) -> os::Result<std::string> {
    return os::Error{os::ErrorKind::kDenied, 0, path + ": not from here"};
  };
  files.expand = [](const std::string& path) -> os::Result<std::vector<std::string>> {
    return os::Error{os::ErrorKind::kDenied, 0, path + ": not from here"};
  };
  files.is_directory = [](const std::string&) { return true; };
  files.environment = [](const std::string&) { return std::nullopt; };
  return files;
}

}  // namespace

os::Result<HtaccessFile> ReadHtaccess(const std::string& text, const std::string& path, const std::string& directory,
                                      const Overrides& overrides, const ServerConfig& server) {
  if (text.size() > kMostBytes) {
    return os::Error{os::ErrorKind::kInvalid, 0, path + ": larger than 256 KiB, not read"};
  }
  const FileSource files = NoFiles();
  auto tree = ReadHtaccessTree(text, path, server, files);
  if (!tree) return tree.error();
  const ReadRequest request;
  Section section;
  section.pattern = directory;
  section.where.file = path;
  return Builder(tree.value(), request, files).RunHtaccess(std::move(section), overrides, server);
}

}  // namespace httpd::config
