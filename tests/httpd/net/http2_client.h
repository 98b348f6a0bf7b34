#pragma once

#include <nghttp2/nghttp2.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "os/fd.h"

namespace httpd::net {

/// A client that speaks HTTP/2 by prior knowledge. Blocking; every wait ends after five seconds.
class Http2Client {
 public:
  struct Answer {
    int status = 0;
    std::vector<std::pair<std::string, std::string>> fields;  ///< without :status
    std::string body;
    bool is_complete = false;  ///< the server has ended the stream
    bool is_closed = false;
    uint32_t error = 0;  ///< of a stream that is closed
    std::string Field(std::string_view name) const;
  };
  struct Options {
    uint32_t window = 65535;  ///< of each stream
    bool takes_data = true;   ///< false: windows are never opened again
  };
  using Fields = std::vector<std::pair<std::string, std::string>>;

  Http2Client(uint16_t port, Options options);
  explicit Http2Client(uint16_t port) : Http2Client(port, Options()) {}
  ~Http2Client();
  Http2Client(const Http2Client&) = delete;
  Http2Client& operator=(const Http2Client&) = delete;

  /// Begins a stream; what is sent goes out with the next Until() or Flush().
  int32_t Ask(const std::string& path, const std::string& method = "GET", const Fields& fields = {},
              std::optional<std::string> body = std::nullopt);
  /// The fields as they are, pseudo ones too.
  int32_t AskRaw(const Fields& fields);
  bool Flush();
  /// What Flush() would send, not sent.
  std::string TakeOutput();
  /// Raw bytes in front of whatever the session has to send.
  bool Send(std::string_view bytes);
  void Feed(std::string_view bytes);  ///< as if they had been received
  /// Talks until `condition` holds; false: the connection ended or five seconds passed without a word.
  bool Until(const std::function<bool()>& condition);
  bool UntilComplete(int32_t stream);
  bool UntilEnd();        ///< of the connection
  std::string ReadRaw();  ///< what comes until the end of the connection, the session does not see it
  Answer& Of(int32_t stream) { return answers_[stream]; }
  nghttp2_session* session() { return session_; }
  int fd() const { return fd_.get(); }
  void Close() { fd_.Reset(); }

  std::vector<std::pair<int32_t, uint32_t>> goaways;  ///< last stream id, error
  bool holds_ping_acks = false;                       ///< set before they come: the session does not answer pings
  int continues = 0;                                  ///< answers 100

 private:
  struct Upload {
    std::string data;
    size_t done = 0;
  };
  bool Receive();
  void Open(Options options);

  os::Fd fd_;
  nghttp2_session* session_ = nullptr;
  std::map<int32_t, Answer> answers_;
  std::map<int32_t, std::unique_ptr<Upload>> uploads_;
  bool takes_data_ = true;
  bool ended_ = false;
};

/// One frame as it is sent.
std::string Frame(uint8_t type, uint8_t flags, int32_t stream, std::string_view payload);

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

}  // namespace httpd::net
