#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "httpd/config/reader.h"

namespace httpd::config {

/// A file system in a map. Patterns: one `*` in the last component; a directory stands for the files directly in it.
class FakeFiles {
 public:
  std::map<std::string, std::string> files;
  std::set<std::string> directories = {"/srv", "/srv/htdocs"};
  std::map<std::string, std::string> environment;

  FileSource Source() {
    FileSource source;
    source.read = [this](const std::string& path) -> os::Result<std::string> {
      const auto found = files.find(path);
      if (found == files.end()) return os::Error{os::ErrorKind::kNotFound, 2, "open " + path};
      return found->second;
    };
    source.expand = [this](const std::string& pattern) -> os::Result<std::vector<std::string>> {
      const size_t star = pattern.find('*');
      const std::string head = star == std::string::npos ? pattern + "/" : pattern.substr(0, star);
      const std::string tail = star == std::string::npos ? "" : pattern.substr(star + 1);
      std::vector<std::string> matches;
      for (const auto& [path, text] : files) {
        if (path.size() >= head.size() + tail.size() && path.starts_with(head) && path.ends_with(tail)) {
          matches.push_back(path);
        }
      }
      return matches;
    };
    source.is_directory = [this](const std::string& path) { return directories.count(path) > 0; };
    source.exists = [this](const std::string& path) { return files.count(path) + directories.count(path) > 0; };
    source.environment = [this](const std::string& name) -> std::optional<std::string> {
      const auto found = environment.find(name);
      if (found == environment.end()) return std::nullopt;
      return found->second;
    };
    return source;
  }

  /// Reads `text` as /srv/conf/httpd.conf below ServerRoot /srv.
  os::Result<ServerConfig> Read(const std::string& text) {
    files["/srv/conf/httpd.conf"] = text;
    ReadRequest request;
    request.server_root = "/srv";
    request.config_file = "conf/httpd.conf";
    request.defines = defines;
    request.directives_before = before;
    request.directives_after = after;
    return ReadConfiguration(request, Source());
  }

  std::vector<std::string> defines, before, after;
};

}  // namespace httpd::config
