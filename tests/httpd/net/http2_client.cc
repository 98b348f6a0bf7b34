#include "tests/httpd/net/http2_client.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>

namespace httpd::net {

namespace {

Http2Client& Self(void* user) {
  return *static_cast<Http2Client*>(user);
}

std::vector<nghttp2_nv> Pairs(const Http2Client::Fields& fields) {
  std::vector<nghttp2_nv> out;
  for (const auto& [name, value] : fields) {
    out.push_back({reinterpret_cast<uint8_t*>(const_cast<char*>(name.data())),
                   reinterpret_cast<uint8_t*>(const_cast<char*>(value.data())), name.size(), value.size(), 0});
  }
  return out;
}

}  // namespace

std::string Http2Client::Answer::Field(std::string_view name) const {
  for (const auto& [key, value] : fields) {
    if (key == name) return value;
  }
  return "(none)";
}

Http2Client::Http2Client(uint16_t port, Options options)
    : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)), takes_data_(options.takes_data) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(fd_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  const timeval limit{5, 0};
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  const int on = 1;
  ::setsockopt(fd_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Open(options);
}

void Http2Client::Open(Options options) {
  nghttp2_session_callbacks* callbacks = nullptr;
  nghttp2_session_callbacks_new(&callbacks);
  nghttp2_session_callbacks_set_on_header_callback(
      callbacks, [](nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                    const uint8_t* value, size_t value_size, uint8_t, void* user) {
        Answer& answer = Self(user).Of(frame->hd.stream_id);
        const std::string key(reinterpret_cast<const char*>(name), name_size);
        const std::string text(reinterpret_cast<const char*>(value), value_size);
        if (key == ":status") {
          answer.status = std::stoi(text);
          if (answer.status == 100) ++Self(user).continues;
        } else {
          answer.fields.emplace_back(key, text);
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
      callbacks, [](nghttp2_session*, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
        Self(user).Of(id).body.append(reinterpret_cast<const char*>(data), size);
        return 0;
      });
  nghttp2_session_callbacks_set_on_frame_recv_callback(
      callbacks, [](nghttp2_session* session, const nghttp2_frame* frame, void* user) {
        Http2Client& self = Self(user);
        if (frame->hd.type == NGHTTP2_GOAWAY) {
          self.goaways.emplace_back(frame->goaway.last_stream_id, frame->goaway.error_code);
        }
        if (frame->hd.type == NGHTTP2_PING && (frame->hd.flags & NGHTTP2_FLAG_ACK) == 0 && !self.holds_ping_acks) {
          nghttp2_submit_ping(session, NGHTTP2_FLAG_ACK, frame->ping.opaque_data);
        }
        if ((frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS) &&
            (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
          self.Of(frame->hd.stream_id).is_complete = true;
        }
        return 0;
      });
  nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                         [](nghttp2_session*, int32_t id, uint32_t error, void* user) {
                                                           Self(user).Of(id).is_closed = true;
                                                           Self(user).Of(id).error = error;
                                                           return 0;
                                                         });
  nghttp2_option* option = nullptr;
  nghttp2_option_new(&option);
  nghttp2_option_set_no_auto_ping_ack(option, 1);
  if (!options.takes_data) nghttp2_option_set_no_auto_window_update(option, 1);
  nghttp2_session_client_new2(&session_, callbacks, this, option);
  nghttp2_option_del(option);
  nghttp2_session_callbacks_del(callbacks);
  const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.window}};
  nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, 1);
}

Http2Client::~Http2Client() {
  nghttp2_session_del(session_);
}

int32_t Http2Client::Ask(const std::string& path, const std::string& method, const Fields& fields,
                         std::optional<std::string> body) {
  Fields all = {{":method", method}, {":scheme", "http"}, {":authority", "x"}, {":path", path}};
  all.insert(all.end(), fields.begin(), fields.end());
  const auto pairs = Pairs(all);
  if (!body) return nghttp2_submit_request(session_, nullptr, pairs.data(), pairs.size(), nullptr, nullptr);
  auto upload = std::make_unique<Upload>();
  upload->data = std::move(*body);
  nghttp2_data_provider provider{};
  provider.source.ptr = upload.get();
  provider.read_callback = [](nghttp2_session*, int32_t, uint8_t* to, size_t most, uint32_t* flags,
                              nghttp2_data_source* source, void*) -> ssize_t {
    auto& from = *static_cast<Upload*>(source->ptr);
    const size_t n = from.data.copy(reinterpret_cast<char*>(to), most, from.done);
    from.done += n;
    if (from.done == from.data.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(n);
  };
  const int32_t id = nghttp2_submit_request(session_, nullptr, pairs.data(), pairs.size(), &provider, nullptr);
  uploads_[id] = std::move(upload);
  return id;
}

int32_t Http2Client::AskRaw(const Fields& fields) {
  const auto pairs = Pairs(fields);
  return nghttp2_submit_request(session_, nullptr, pairs.data(), pairs.size(), nullptr, nullptr);
}

std::string Http2Client::TakeOutput() {
  std::string out;
  const uint8_t* data = nullptr;
  for (ssize_t n = 0; (n = nghttp2_session_mem_send(session_, &data)) > 0;) {
    out.append(reinterpret_cast<const char*>(data), static_cast<size_t>(n));
  }
  return out;
}

bool Http2Client::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return true;
}

bool Http2Client::Flush() {
  return Send(TakeOutput());
}

void Http2Client::Feed(std::string_view bytes) {
  if (nghttp2_session_mem_recv(session_, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()) < 0) {
    ended_ = true;
  }
}

bool Http2Client::Receive() {
  char buffer[65536];
  const ssize_t n = ::recv(fd_.get(), buffer, sizeof buffer, 0);
  if (n <= 0) {
    ended_ = n == 0 || errno == ECONNRESET;
    return false;
  }
  Feed({buffer, static_cast<size_t>(n)});
  return true;
}

bool Http2Client::Until(const std::function<bool()>& condition) {
  for (;;) {
    if (condition()) return true;
    Flush();
    if (!Receive()) return condition();
  }
}

bool Http2Client::UntilComplete(int32_t stream) {
  return Until([&] { return Of(stream).is_complete; });
}

bool Http2Client::UntilEnd() {
  while (!ended_) {
    Flush();
    if (!Receive()) break;
  }
  return ended_;
}

std::string Http2Client::ReadRaw() {
  std::string out;
  char buffer[65536];
  for (ssize_t n = 0; (n = ::recv(fd_.get(), buffer, sizeof buffer, 0)) > 0;)
    out.append(buffer, static_cast<size_t>(n));
  return out;
}

std::string Frame(uint8_t type, uint8_t flags, int32_t stream, std::string_view payload) {
  std::string out;
  for (const int shift : {16, 8, 0}) out += static_cast<char>(payload.size() >> shift & 0xff);
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (const int shift : {24, 16, 8, 0}) out += static_cast<char>(stream >> shift & 0xff);
  out.append(payload);
  return out;
}

}  // namespace httpd::net
