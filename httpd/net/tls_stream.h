#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

struct ssl_st;
struct bio_st;
struct bio_method_st;

namespace httpd::net {

/// TLS between one client's socket and its HTTP: encrypts what the loop sends, decrypts what it receives. Or a
/// backend's socket: what is said of the client below is the peer then.
///
/// Ownership  of the SSL object and its BIO; the socket is a loan that must outlive the stream
/// Memory     while nothing is in progress, OpenSSL's object for the connection and this one: buffers are given back
///            when they are empty (SSL_MODE_RELEASE_BUFFERS), flights of handshakes are gathered where all streams of a
///            thread do
/// Blocks     never
/// Threads    one owner
/// Source     SSL_read(3), SSL_write(3), RFC 8446, RFC 5246
class TlsStream {
 public:
  enum class Step {
    kDone,      ///< the handshake is complete
    kWait,      ///< the client has to send, or to take what Flush() still holds
    kFailed,    ///< the connection is of no use; why() says what was wrong
    kPlainHttp  ///< the client has sent a request without TLS; plain() is what it sent
  };

  enum class Side { kServer, kClient };  ///< which we are

  /// @param ssl   a server's, with nothing set but its context; owned from here on. null: Handshake() fails
  /// @param fd    the client's socket, non-blocking
  /// @param port  that the client has reached
  TlsStream(ssl_st* ssl, int fd, uint16_t port, Side side = Side::kServer);
  ~TlsStream();
  TlsStream(const TlsStream&) = delete;
  TlsStream& operator=(const TlsStream&) = delete;

  Step Handshake();
  bool is_established() const { return is_established_; }

  /// As recv(2): 0 is the client's orderly end or the end of its connection; errno is EAGAIN where more must arrive
  /// first, EPROTO for what is no TLS. Fills `to` as far as whole records have arrived.
  ssize_t Receive(char* to, size_t most);

  /// Whether Receive() has something to say that no readiness of the socket will announce.
  bool has_buffered() const { return has_buffered_; }

  /// As send(2), but for one thing: after EAGAIN the same bytes, with more behind them or not, have to come first the
  /// next time. They are encrypted already, and are reported as sent when all of them are. What fits one record goes
  /// out in one send(2).
  /// @param more  they need not go out before the next call or Flush()
  ssize_t Send(std::string_view bytes, bool more);

  /// As Send(), of a file. 0: it is shorter than that.
  ssize_t SendFile(int file, uint64_t offset, size_t most);

  /// Sends what Handshake() or a call with `more` has left. 1: nothing is left; -1 as send(2).
  int Flush();
  bool has_unsent() const { return !out_.empty(); }

  /// Tells the client that nothing more will come (close_notify), as far as the socket takes it.
  void Close();

  /// An answer stopped in the middle: Close() will say nothing, so that the client does not take it for all.
  void Break() { is_broken_ = true; }

  /// What the client and we agreed on with ALPN; "" = nothing.
  std::string_view Alpn() const;

  /// The name that the client asked for (SNI); "" = none.
  std::string_view ServerName() const;

  ssl_st* ssl() const { return ssl_; }
  int fd() const { return fd_; }
  uint16_t port() const { return port_; }
  const std::string& why() const { return why_; }
  const std::string& plain() const { return why_; }

  int host = 0;            ///< TlsService's note: which host's certificate the client was shown
  bool is_queued = false;  ///< the loop's note: it will ask what is buffered

 private:
  friend struct TlsBio;
  enum class Sink : uint8_t { kSocket, kBatch, kOut };

  int ReadSocket(char* to, int most);
  int WriteSocket(const char* data, int length);
  ssize_t SendNow(const char* data, size_t length) const;
  int FlushBatch();
  /// EAGAIN or what Send() has to say of bytes that were encrypted before. @return false: nothing, go on
  bool Settle(ssize_t& result);
  void NoteError();

  ssl_st* ssl_;
  int fd_;
  uint16_t port_;
  Sink sink_ = Sink::kSocket;
  bool is_established_ = false;
  bool has_buffered_ = false;
  bool is_broken_ = false;  ///< a fatal error: nothing may be sent any more
  bool has_ended_ = false;  ///< the client's end of the connection was seen
  bool has_begun_ = false;  ///< its first bytes were, or need not be looked at
  bool is_plain_ = false;
  uint32_t accepted_ = 0;  ///< bytes of the last Send() that are encrypted but not reported as sent
  std::string out_;        ///< encrypted, not sent
  std::string why_;
};

/// Who decides which connections begin with TLS, and with what certificate.
///
/// Threads  shared by the loops of a process
class TlsService {
 public:
  virtual ~TlsService() = default;

  /// null: a plain connection
  virtual std::unique_ptr<TlsStream> Accept(int fd, uint16_t port) const = 0;

  /// For the log: a handshake that ended the connection.
  virtual void Failed(const TlsStream& stream, std::string_view client_address) const = 0;
};

/// What the handler is told of a client that speaks HTTP without TLS where TLS is expected.
inline constexpr char kPlainHttp[] = "plain HTTP to a port that speaks HTTPS";

}  // namespace httpd::net
