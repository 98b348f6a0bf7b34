#include "os/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

namespace os {

namespace {

std::string ProcPath(const Fd& fd) {
  return "/proc/self/fd/" + std::to_string(fd.get());
}

/// A new file without a name, which goes with its descriptor; invalid where there are none (NFS, FUSE, no /proc).
Fd OpenNameless(const std::filesystem::path& directory) {
  Fd fd(::open(directory.empty() ? "." : directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600));
  if (fd.valid() && ::access(ProcPath(fd).c_str(), F_OK) != 0) fd.Reset();
  return fd;
}

/// Links a nameless file to a free name: the six characters at the end of `name` are replaced as mkstemp(3) does.
Status GiveName(const Fd& fd, std::string& name) {
  constexpr char kCharacters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
  const std::string nameless = ProcPath(fd);
  int sys = EEXIST;
  for (int tries = 0; tries < 100 && sys == EEXIST; ++tries) {
    for (size_t i = name.size() - 6; i < name.size(); ++i) {
      name[i] = kCharacters[::arc4random_uniform(sizeof kCharacters - 1)];
    }
    if (::linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0) return kDone;
    sys = errno;
  }
  return SysError(sys, "create " + name);
}

}  // namespace

Result<Fd> Open(const std::filesystem::path& path, int flags, mode_t mode) {
  int raw;
  do {
    raw = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  } while (raw < 0 && errno == EINTR);
  if (raw < 0) {
    const int sys = errno;
    return SysError(sys, "open " + path.string());
  }
  return Fd(raw);
}

Result<std::string> ReadFile(const std::filesystem::path& path, size_t max_bytes) {
  auto fd = Open(path, O_RDONLY);
  if (!fd) return fd.error();
  std::string text;
  char chunk[16384];
  for (;;) {
    const ssize_t n = ::read(fd.value().get(), chunk, sizeof chunk);
    if (n < 0) {
      const int sys = errno;
      if (sys == EINTR) continue;
      return SysError(sys, "read " + path.string());
    }
    if (n == 0) return text;
    text.append(chunk, static_cast<size_t>(n));
    if (text.size() > max_bytes) {
      return Error{ErrorKind::kInvalid, 0, path.string() + " is larger than " + std::to_string(max_bytes) + " bytes"};
    }
  }
}

Status WriteAll(const Fd& fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t n = ::write(fd.get(), data.data(), data.size());
    if (n < 0) {
      const int sys = errno;
      if (sys == EINTR) continue;
      return SysError(sys, "write");
    }
    data.remove_prefix(static_cast<size_t>(n));
  }
  return kDone;
}

Status CloseChecked(Fd& fd) {
  const int raw = fd.Release();
  if (raw >= 0 && ::close(raw) != 0 && errno != EINTR) return SysError(errno, "close");
  return kDone;
}

Status SyncDirectory(const std::filesystem::path& directory) {
  auto fd = Open(directory.empty() ? "." : directory, O_RDONLY | O_DIRECTORY);
  if (!fd) return fd.error();
  if (::fsync(fd.value().get()) != 0) {
    const int sys = errno;
    if (sys == EINVAL) return kDone;  // file systems that cannot sync directories say so; nothing is left to do
    return SysError(sys, "sync " + directory.string());
  }
  return kDone;
}

Status ReplaceFile(const std::filesystem::path& path, std::string_view content, mode_t mode) {
  std::string temporary = (path.parent_path() / ("." + path.filename().string() + ".XXXXXX")).string();
  Fd fd = OpenNameless(path.parent_path());
  bool named = !fd.valid();
  if (named) fd = Fd(::mkostemp(temporary.data(), O_CLOEXEC));
  if (!fd.valid()) {
    const int sys = errno;
    return SysError(sys, "create " + temporary);
  }
  auto fail = [&](Error error) {
    if (named) ::unlink(temporary.c_str());
    return error;
  };
  if (auto wrote = WriteAll(fd, content); !wrote)
    return fail({wrote.error().kind, wrote.error().sys, "write " + temporary});
  if (::fchmod(fd.get(), mode) != 0 || ::fsync(fd.get()) != 0) {
    const int sys = errno;
    return fail(SysError(sys, "sync " + temporary));
  }
  if (!named) {
    if (auto given = GiveName(fd, temporary); !given) return given;
    named = true;
  }
  if (auto closed = CloseChecked(fd); !closed) return fail(closed.error());
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    const int sys = errno;
    return fail(SysError(sys, "rename " + temporary + " to " + path.string()));
  }
  return SyncDirectory(path.parent_path());
}

Status MakeDirectories(const std::filesystem::path& path, mode_t mode) {
  if (path.empty()) return kDone;
  if (::mkdir(path.c_str(), mode) == 0) return kDone;
  int sys = errno;
  if (sys == ENOENT && path.has_parent_path() && path.parent_path() != path) {
    if (auto parent = MakeDirectories(path.parent_path(), mode); !parent) return parent;
    if (::mkdir(path.c_str(), mode) == 0) return kDone;
    sys = errno;
  }
  struct stat st {};
  if (sys == EEXIST && ::stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode)) return kDone;
  return SysError(sys, "create directory " + path.string());
}

Status RemoveFile(const std::filesystem::path& path) {
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return kDone;
  const int sys = errno;
  return SysError(sys, "remove " + path.string());
}

Result<std::vector<std::string>> ListDirectory(const std::filesystem::path& directory) {
  std::unique_ptr<DIR, int (*)(DIR*)> dir(::opendir(directory.c_str()), ::closedir);
  if (!dir) {
    const int sys = errno;
    return SysError(sys, "list " + directory.string());
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;  // the only way to tell the end from an error
    const dirent* entry = ::readdir(dir.get());
    const int sys = errno;
    if (!entry && sys != 0) return SysError(sys, "list " + directory.string());
    if (!entry) return names;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
}

}  // namespace os
