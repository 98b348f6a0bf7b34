#include "os/pid_file.h"

#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>

#include "os/file.h"

namespace os {

Result<pid_t> ReadPidFile(const std::filesystem::path& path) {
  auto text = ReadFile(path, 4096);
  if (!text) return text.error();
  std::string_view content = text.value();
  while (!content.empty() && (content.back() == '\n' || content.back() == ' ')) content.remove_suffix(1);
  pid_t pid = 0;
  const auto [end, error] = std::from_chars(content.data(), content.data() + content.size(), pid);
  if (error != std::errc() || end != content.data() + content.size() || pid <= 0) {
    return Error{ErrorKind::kInvalid, 0, path.string() + " does not hold a process number"};
  }
  return pid;
}

Status WritePidFile(const std::filesystem::path& path, pid_t pid) {
  return ReplaceFile(path, std::to_string(pid) + "\n", 0644);
}

Status RemovePidFile(const std::filesystem::path& path, pid_t pid) {
  auto holder = ReadPidFile(path);
  if (!holder) return holder.error().kind == ErrorKind::kNotFound ? Status(kDone) : Status(holder.error());
  if (holder.value() != pid) return kDone;
  const std::filesystem::path aside =
      path.parent_path() / ("." + path.filename().string() + ".leaving." + std::to_string(pid));
  if (::rename(path.c_str(), aside.c_str()) != 0) {
    const int sys = errno;
    return sys == ENOENT ? Status(kDone) : Status(SysError(sys, "remove " + path.string()));
  }
  auto taken = ReadPidFile(aside);
  if (taken && taken.value() != pid) {
    // A newcomer published itself in between. link() does not overwrite: if yet another one did too, its file stays.
    if (::link(aside.c_str(), path.c_str()) != 0 && errno != EEXIST) {
      const int sys = errno;
      return SysError(sys, "put back " + path.string());
    }
  }
  return RemoveFile(aside);
}

}  // namespace os
