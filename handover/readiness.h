#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "os/error.h"
#include "os/fd.h"

namespace handover {

/// Sends `text` ("READY=1\nMAINPID=12\nSTATUS=...") to $NOTIFY_SOCKET. Without the variable nobody asked: done.
/// Source  sd_notify(3); both path and abstract ("@name") sockets
os::Status Notify(std::string_view text);

/// A private notification socket for one newcomer: who holds it learns from the newcomer itself that it is ready, never
/// from a pause. The file is removed when the object goes.
class NotifySocket {
 public:
  /// @param path  must not exist; mode 0600
  static os::Result<NotifySocket> Open(const std::filesystem::path& path);
  NotifySocket(NotifySocket&&) noexcept = default;
  NotifySocket& operator=(NotifySocket&& other) noexcept;
  ~NotifySocket();

  struct Notice {
    pid_t sender = 0;  ///< as the kernel saw it (SCM_CREDENTIALS)
    std::string text;
    bool Has(std::string_view line) const;                         ///< one of its lines is exactly `line`
    std::optional<std::string> Value(std::string_view key) const;  ///< of its line KEY=value
  };

  const std::filesystem::path& path() const { return path_; }
  const os::Fd& fd() const { return fd_; }
  os::Result<Notice> Receive() const;  ///< kBusy: nothing there; never blocks

 private:
  NotifySocket(std::filesystem::path path, os::Fd fd) : path_(std::move(path)), fd_(std::move(fd)) {}
  std::filesystem::path path_;
  os::Fd fd_;
};

}  // namespace handover
