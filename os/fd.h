#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace os {

/// Owns one file descriptor. Move-only; every open(2)-like call in the tree returns one of these.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int raw) noexcept : raw_(raw) {}
  Fd(Fd&& other) noexcept : raw_(other.Release()) {}
  Fd& operator=(Fd&& other) noexcept {
    Reset(other.Release());
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { Reset(); }

  int get() const { return raw_; }  ///< a loan: never close it, never store it beyond the owner's life
  bool valid() const { return raw_ >= 0; }
  [[nodiscard]] int Release() noexcept { return std::exchange(raw_, -1); }

  /// Another descriptor of the same description, O_CLOEXEC and above 2. Invalid, with errno set, when there is none
  /// left.
  [[nodiscard]] Fd Duplicate() const { return Fd(::fcntl(raw_, F_DUPFD_CLOEXEC, 3)); }

  /// Drops close(2)'s error and keeps errno, so it is safe on an error path.
  /// For a file we wrote, call CloseChecked() (os/file.h): ENOSPC and EIO may surface only there.
  void Reset(int raw = -1) noexcept {
    const int old = std::exchange(raw_, raw);
    if (old < 0) return;
    const int saved = errno;
    ::close(old);  // never retried on EINTR: Linux has freed the number already
    errno = saved;
  }

 private:
  int raw_ = -1;
};

}  // namespace os
