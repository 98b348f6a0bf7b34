#pragma once

#include <dirent.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>

namespace tests {

/// A private directory that goes with everything in it.
class TempDir {
 public:
  TempDir() {
    std::string name = (std::filesystem::temp_directory_path() / "baton-test.XXXXXX").string();
    if (!::mkdtemp(name.data())) throw std::runtime_error("mkdtemp " + name);
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

/// Descriptors that are open in this process: number -> what /proc says it is.
inline std::map<int, std::string> OpenDescriptors() {
  std::map<int, std::string> out;
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir("/proc/self/fd"), ::closedir);
  if (!dir) throw std::runtime_error("cannot list /proc/self/fd");
  while (const dirent* entry = ::readdir(dir.get())) {
    if (entry->d_name[0] == '.') continue;
    const int number = std::atoi(entry->d_name);
    if (number == ::dirfd(dir.get())) continue;
    std::error_code failed;
    out[number] = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(number), failed).string();
  }
  return out;
}

/// This test program, to be started again as a helper.
inline std::filesystem::path Self() {
  return std::filesystem::read_symlink("/proc/self/exe");
}

}  // namespace tests
