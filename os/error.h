#pragma once

#include <string>
#include <utility>
#include <variant>

namespace os {

/// What a caller can act on. Finer detail stays in Error::sys.
enum class ErrorKind { kNotFound, kBusy, kDenied, kTimeout, kInvalid, kIo };

/// Why something did not happen.
struct Error {
  ErrorKind kind = ErrorKind::kIo;
  int sys = 0;       ///< errno, or 0 when the kernel was not asked
  std::string what;  ///< verb and object, no trailing newline: "lock /run/httpd/upgrade.lock"

  /// `what`, and the text of `sys` when there is one: "open /x: No such file or directory".
  std::string Text() const;
};

/// Makes an Error from an errno that the caller saved *before* it built `what` (allocating may overwrite errno).
/// ENOENT, ENOTDIR, ESRCH -> kNotFound; EACCES, EPERM, EROFS -> kDenied; EAGAIN, EBUSY, EADDRINUSE, ETXTBSY -> kBusy;
/// ETIMEDOUT -> kTimeout; EINVAL, ENAMETOOLONG, ELOOP -> kInvalid; anything else -> kIo.
Error SysError(int saved_errno, std::string what);

/// A T or the reason there is none. Same verbs as std::expected, which needs C++23.
/// Asking for the side that is not there throws std::bad_variant_access: a bug in the caller.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T value() && { return std::get<0>(std::move(state_)); }
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

struct Done {};

/// Outcome of something done for its effect: `return os::kDone;` or an Error.
using Status = Result<Done>;
inline constexpr Done kDone{};

}  // namespace os
