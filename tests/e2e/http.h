#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "os/fd.h"

namespace e2e {

/// One answer. Header names in lower case.
struct Answer {
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string body;
  bool SaysClose() const;
};

/// A client's TCP connection, blocking, every wait bounded. For tests that look at one connection; load is
/// LoadClient's.
class Connection {
 public:
  static constexpr std::chrono::seconds kPatience{30};

  /// Connects to 127.0.0.1:`port`. nullopt: refused.
  /// @param receive_buffer  bytes of SO_RCVBUF, 0 = the default: small, and the server cannot write ahead of a slow
  /// reader
  static std::optional<Connection> Open(uint16_t port, int receive_buffer = 0);

  /// Sends all of `text`. False: the connection is gone, or nothing moved for kPatience.
  bool Send(std::string_view text);

  /// One answer with a Content-Length or in chunks, without trailers. nullopt: the connection ended before it was
  /// whole; `Why()` says more.
  std::optional<Answer> Read();

  /// At most `bytes` of what comes, as it is. Fewer: the connection ended.
  std::string ReadSome(size_t bytes);

  /// Waits for the first byte of what comes next and leaves it there. False: the connection ended.
  bool AwaitBytes() { return !buffer_.empty() || Fill(); }

  /// True when the server closes within kPatience (what it still sent is dropped).
  bool ReachesEnd();

  /// True when the server has neither closed nor sent anything by now.
  bool IsQuiet() const;

  uint16_t LocalPort() const;
  const std::string& Why() const { return why_; }

 private:
  explicit Connection(os::Fd fd) : fd_(std::move(fd)) {}
  bool ReadChunks(Answer& answer);
  bool Fill();  ///< more bytes into buffer_; false: end, error or time

  os::Fd fd_;
  std::string buffer_;
  std::string why_;
};

std::string GetRequest(std::string_view path, std::string_view more_headers = "");

}  // namespace e2e
