#include "os/error.h"

#include <cerrno>
#include <system_error>

namespace os {

std::string Error::Text() const {
  if (sys == 0) return what;
  return what + ": " + std::generic_category().message(sys);
}

Error SysError(int saved_errno, std::string what) {
  ErrorKind kind = ErrorKind::kIo;
  switch (saved_errno) {
    case ENOENT:
    case ENOTDIR:
    case ESRCH:
      kind = ErrorKind::kNotFound;
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      kind = ErrorKind::kDenied;
      break;
    case EAGAIN:
    case EBUSY:
    case EADDRINUSE:
    case ETXTBSY:
      kind = ErrorKind::kBusy;
      break;
    case ETIMEDOUT:
      kind = ErrorKind::kTimeout;
      break;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
      kind = ErrorKind::kInvalid;
      break;
    default:
      break;
  }
  return Error{kind, saved_errno, std::move(what)};
}

}  // namespace os
