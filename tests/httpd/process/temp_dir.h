#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace httpd::process {

/// A private directory that goes with the object.
class TempDir {
 public:
  TempDir() {
    char name[] = "/tmp/httpd_process_test.XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace httpd::process
