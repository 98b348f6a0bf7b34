#include "httpd/net/tls_stream.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace httpd::net {

namespace {

constexpr size_t kRecordBytes = 16384;
constexpr size_t kMostUnsent = 256U << 10;  // of who makes us answer (KeyUpdate) and does not read
constexpr size_t kMostPlain = 8192;

/// One for the streams of a thread: none of them keeps anything in it when its call returns.
std::string& Batch() {
  static thread_local std::string batch;
  return batch;
}

void Release(std::string& text) {
  std::string().swap(text);
}

/// "GET /": no TLS record begins with a letter.
bool LooksLikeHttp(const char* data, int length) {
  return length > 0 && ((data[0] >= 'A' && data[0] <= 'Z') || (data[0] >= 'a' && data[0] <= 'z'));
}

}  // namespace

/// The stream as OpenSSL's transport: its socket, without the object that BIO_s_socket would allocate, and with a place
/// for records that are sent together.
struct TlsBio {
  static TlsStream& Of(BIO* bio) { return *static_cast<TlsStream*>(::BIO_get_data(bio)); }

  static int Read(BIO* bio, char* to, int most) {
    ::BIO_clear_retry_flags(bio);
    const int n = Of(bio).ReadSocket(to, most);
    if (n < 0 && errno == EAGAIN) ::BIO_set_retry_read(bio);
    return n;
  }
  static int Write(BIO* bio, const char* data, int length) {
    ::BIO_clear_retry_flags(bio);
    return Of(bio).WriteSocket(data, length);
  }
  static long Control(BIO* bio, int command, long, void*) {
    if (command == BIO_CTRL_FLUSH) return 1;
    if (command == BIO_CTRL_EOF) return Of(bio).has_ended_ ? 1 : 0;
    return 0;
  }
  static const BIO_METHOD* Method() {
    static BIO_METHOD* const method = [] {
      BIO_METHOD* made = ::BIO_meth_new(::BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "connection");
      ::BIO_meth_set_read(made, Read);
      ::BIO_meth_set_write(made, Write);
      ::BIO_meth_set_ctrl(made, Control);
      return made;
    }();
    return method;
  }
};

TlsStream::TlsStream(SSL* ssl, int fd, uint16_t port, Side side)
    : ssl_(ssl), fd_(fd), port_(port), has_begun_(side == Side::kClient) {
  if (!ssl_) return;
  BIO* bio = ::BIO_new(TlsBio::Method());
  ::BIO_set_data(bio, this);
  ::BIO_set_init(bio, 1);
  ::SSL_set_bio(ssl_, bio, bio);
  if (side == Side::kClient) {
    ::SSL_set_connect_state(ssl_);
  } else {
    ::SSL_set_accept_state(ssl_);
  }
  SSL_set_app_data(ssl_, this);
}

TlsStream::~TlsStream() {
  ::SSL_free(ssl_);
}

int TlsStream::ReadSocket(char* to, int most) {
  ssize_t n = 0;
  do {
    n = ::recv(fd_, to, static_cast<size_t>(most), 0);
  } while (n < 0 && errno == EINTR);
  if (n == 0) has_ended_ = true;
  if (!has_begun_ && n > 0) {
    has_begun_ = true;
    if (LooksLikeHttp(to, static_cast<int>(n))) {
      is_plain_ = true;
      why_.assign(to, static_cast<size_t>(n));
    }
  }
  return static_cast<int>(n);
}

ssize_t TlsStream::SendNow(const char* data, size_t length) const {
  ssize_t n = 0;
  do {
    n = ::send(fd_, data, length, MSG_NOSIGNAL);
  } while (n < 0 && errno == EINTR);
  return n;
}

int TlsStream::WriteSocket(const char* data, int length) {
  const auto bytes = static_cast<size_t>(length);
  if (sink_ == Sink::kBatch) {
    Batch().append(data, bytes);
    return length;
  }
  size_t done = 0;
  if (sink_ == Sink::kSocket && out_.empty()) {
    const ssize_t n = SendNow(data, bytes);
    if (n < 0 && errno != EAGAIN) return -1;
    done = n < 0 ? 0 : static_cast<size_t>(n);
  }
  if (out_.size() + bytes - done > kMostUnsent) {
    errno = ENOBUFS;
    return -1;
  }
  out_.append(data + done, bytes - done);  // OpenSSL never has to wait: what was left over is our matter
  return length;
}

int TlsStream::FlushBatch() {
  std::string& batch = Batch();
  size_t done = 0;
  while (done < batch.size()) {
    const ssize_t n = SendNow(batch.data() + done, batch.size() - done);
    if (n < 0) {
      const int sys = errno;
      if (sys == EAGAIN) out_.assign(batch, done);
      batch.clear();
      errno = sys;
      return -1;
    }
    done += static_cast<size_t>(n);
  }
  batch.clear();
  return 1;
}

int TlsStream::Flush() {
  size_t done = 0;
  while (done < out_.size()) {
    const ssize_t n = SendNow(out_.data() + done, out_.size() - done);
    if (n < 0) {
      const int sys = errno;
      out_.erase(0, done);
      errno = sys;
      return -1;
    }
    done += static_cast<size_t>(n);
  }
  if (done > 0) Release(out_);
  return 1;
}

void TlsStream::NoteError() {
  const unsigned long code = ::ERR_peek_last_error();
  const char* reason = code != 0 ? ::ERR_reason_error_string(code) : nullptr;
  why_ = reason       ? reason
         : has_ended_ ? ::SSL_is_server(ssl_) == 1 ? "the client closed the connection" : "it closed the connection"
                      : "the connection is broken";
  ::ERR_clear_error();
}

TlsStream::Step TlsStream::Handshake() {
  if (!ssl_) {
    why_ = "out of memory";
    is_broken_ = true;
    return Step::kFailed;
  }
  // All records of a flight go out together. The last ones of TLS 1.3 are session tickets, which nobody waits for: they
  // go with the answer, if there soon is one.
  std::string& batch = Batch();
  batch.assign(out_);
  out_.clear();
  sink_ = Sink::kBatch;
  const int result = ::SSL_do_handshake(ssl_);
  sink_ = Sink::kSocket;
  if (result == 1) {
    is_established_ = true;
    has_buffered_ = ::SSL_has_pending(ssl_) == 1;
    out_.assign(batch);
    batch.clear();
    return Step::kDone;
  }
  const int error = ::SSL_get_error(ssl_, result);
  if (is_plain_) {
    ::ERR_clear_error();
    batch.clear();  // an alert is of no use to who speaks no TLS
    is_broken_ = true;
    if (why_.size() > kMostPlain) why_.resize(kMostPlain);
    return Step::kPlainHttp;
  }
  const bool is_sent = FlushBatch() == 1 || errno == EAGAIN;
  if (error == SSL_ERROR_WANT_READ && is_sent) return Step::kWait;
  is_broken_ = true;
  NoteError();
  return Step::kFailed;
}

ssize_t TlsStream::Receive(char* to, size_t most) {
  size_t done = 0;
  has_buffered_ = false;
  while (done < most) {
    const int n = ::SSL_read(ssl_, to + done, static_cast<int>(std::min<size_t>(most - done, 1U << 30)));
    if (n > 0) {
      done += static_cast<size_t>(n);
      if (::SSL_has_pending(ssl_) == 0) return static_cast<ssize_t>(done);
      continue;
    }
    const int error = ::SSL_get_error(ssl_, n);
    if (error == SSL_ERROR_WANT_READ) {
      if (done > 0) return static_cast<ssize_t>(done);
      errno = EAGAIN;
      return -1;
    }
    if (error != SSL_ERROR_ZERO_RETURN && !has_ended_) {
      is_broken_ = true;
      NoteError();
    }
    ::ERR_clear_error();
    if (done > 0) {
      has_buffered_ = true;  // the end: the socket may have nothing more to say about it
      return static_cast<ssize_t>(done);
    }
    if (!is_broken_) return 0;
    errno = EPROTO;
    return -1;
  }
  has_buffered_ = ::SSL_has_pending(ssl_) == 1;
  return static_cast<ssize_t>(done);
}

bool TlsStream::Settle(ssize_t& result) {
  if (is_broken_) {
    errno = EPIPE;
    result = -1;
    return true;
  }
  if (accepted_ == 0) return false;
  result = Flush() == 1 ? static_cast<ssize_t>(std::exchange(accepted_, 0)) : -1;
  return true;
}

ssize_t TlsStream::Send(std::string_view bytes, bool more) {
  ssize_t result = 0;
  if (Settle(result)) return result;
  if (bytes.empty()) return 0;
  // A send(2) for each record: to collect several of them costs more, by the copy, than the calls do.
  if (more || !out_.empty()) sink_ = Sink::kOut;
  const int n = ::SSL_write(ssl_, bytes.data(), static_cast<int>(std::min(bytes.size(), kRecordBytes)));
  sink_ = Sink::kSocket;
  if (n <= 0) {
    is_broken_ = true;
    NoteError();
    errno = EPIPE;
    return -1;
  }
  if (more || Flush() == 1) return n;
  accepted_ = static_cast<uint32_t>(n);
  return -1;
}

ssize_t TlsStream::SendFile(int file, uint64_t offset, size_t most) {
  ssize_t result = 0;
  if (Settle(result)) return result;
  static thread_local std::unique_ptr<char[]> buffer;
  if (!buffer) buffer.reset(new char[kRecordBytes]);
  do {
    result = ::pread(file, buffer.get(), std::min(most, kRecordBytes), static_cast<off_t>(offset));
  } while (result < 0 && errno == EINTR);
  if (result <= 0) {
    if (result < 0 && errno == EAGAIN) errno = EIO;
    return result;
  }
  return Send({buffer.get(), static_cast<size_t>(result)}, false);
}

void TlsStream::Close() {
  if (!is_established_ || is_broken_ || has_ended_ || accepted_ != 0) return;
  if (!out_.empty()) sink_ = Sink::kOut;
  ::SSL_shutdown(ssl_);
  sink_ = Sink::kSocket;
  ::ERR_clear_error();
  Flush();
}

std::string_view TlsStream::Alpn() const {
  const unsigned char* name = nullptr;
  unsigned length = 0;
  ::SSL_get0_alpn_selected(ssl_, &name, &length);
  return {reinterpret_cast<const char*>(name), length};
}

std::string_view TlsStream::ServerName() const {
  const char* name = ::SSL_get_servername(ssl_, TLSEXT_NAMETYPE_host_name);
  return name ? name : std::string_view();
}

}  // namespace httpd::net
