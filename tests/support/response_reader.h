#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace support {

/// Reads HTTP/1 responses byte by byte as they come, as strictly as a client may: CRLF only, no folded lines, one
/// framing per response. What is not a response is an error with a reason, never a guess.
///
/// One reader serves one connection: Start() before each response that is expected, Feed() until done() or bad().
/// Interim responses (100, 102, 103) are read over; `continued()` says that a 100 was among them.
/// Source  RFC 9112 sections 2 to 7, RFC 9110 section 15.2
class ResponseReader {
 public:
  using OnBody = std::function<void(std::string_view)>;

  /// @param to_head  the response answers a HEAD request: it has no body whatever its headers say
  void Start(bool to_head);

  /// @return how many bytes of `data` belong to this response (all of them unless done() or bad() came first).
  ///         Body bytes go to `body` in order, without chunk framing.
  size_t Feed(std::string_view data, const OnBody& body);

  /// The server has closed. Ends a body that only the end of the connection delimits.
  /// @return true when the response was complete by that
  bool End();

  bool started() const { return bytes_ > 0; }  ///< at least one byte has come
  bool done() const { return state_ == State::kDone; }
  bool bad() const { return state_ == State::kBad; }
  const std::string& reason() const { return reason_; }  ///< why bad(); empty otherwise
  bool continued() const { return continued_; }
  bool in_head() const { return state_ == State::kHead; }

  int status() const { return status_; }
  /// The server will close after this response: `Connection: close`, HTTP/1.0 without keep-alive, body ended by close.
  bool closes() const { return closes_; }
  /// Seconds that `Keep-Alive: timeout=N` promises to keep the idle connection; nullopt: nothing was promised.
  std::optional<int> keep_alive_seconds() const { return keep_alive_seconds_; }

 private:
  enum class State { kHead, kLength, kChunkSize, kChunkData, kChunkEnd, kTrailer, kUntilClose, kDone, kBad };
  void ParseHead();
  void ParseField(std::string_view line);
  void Bad(std::string reason);
  bool TakeLine(std::string_view& data, size_t limit);

  State state_ = State::kHead;
  bool to_head_ = false;
  std::string line_;  ///< head, or chunk line, as far as it has come
  std::string reason_;
  uint64_t bytes_ = 0;
  uint64_t left_ = 0;  ///< body or chunk bytes still to come
  int status_ = 0;
  bool continued_ = false;
  bool http10_ = false;
  bool closes_ = false;
  bool says_keep_alive_ = false;
  bool chunked_ = false;
  std::optional<uint64_t> length_;
  std::optional<int> keep_alive_seconds_;
};

}  // namespace support
