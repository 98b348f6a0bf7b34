#include "httpd/net/tls_stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <string>

#include "tests/httpd/net/loop_fixture.h"

namespace httpd::net {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

constexpr char kGet[] = "GET / HTTP/1.1\r\nHost: h\r\n\r\n";

/// A service with one certificate that nobody knows.
class FakeTls final : public TlsService {
 public:
  FakeTls() : context_(::SSL_CTX_new(::TLS_server_method())) {
    EVP_PKEY* key = ::EVP_EC_gen("P-256");
    X509* certificate = ::X509_new();
    ::ASN1_INTEGER_set(::X509_get_serialNumber(certificate), 1);
    ::X509_gmtime_adj(::X509_getm_notBefore(certificate), 0);
    ::X509_gmtime_adj(::X509_getm_notAfter(certificate), 3600);
    ::X509_set_pubkey(certificate, key);
    ::X509_sign(certificate, key, ::EVP_sha256());
    ::SSL_CTX_use_certificate(context_, certificate);
    ::SSL_CTX_use_PrivateKey(context_, key);
    ::X509_free(certificate);
    ::EVP_PKEY_free(key);
    SSL_CTX_set_mode(context_,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context_, 1);
  }
  ~FakeTls() override { ::SSL_CTX_free(context_); }

  std::unique_ptr<TlsStream> Accept(int fd, uint16_t port) const override {
    return std::make_unique<TlsStream>(::SSL_new(context_), fd, port);
  }
  void Failed(const TlsStream&, std::string_view) const override { ++failures; }

  mutable std::atomic<int> failures = 0;

 private:
  SSL_CTX* context_;
};

struct Loop : RunningLoop {
  Loop(FakeHandler& handler, const FakeTls& tls)
      : RunningLoop(handler, [&tls](EventLoop::Setup& setup) { setup.tls = &tls; }) {}
};

/// A blocking TLS client over a Client.
class TlsClient {
 public:
  explicit TlsClient(uint16_t port, int version = TLS1_3_VERSION, int receive_buffer = 0)
      : client(port, receive_buffer), context_(::SSL_CTX_new(::TLS_client_method())) {
    SSL_CTX_set_max_proto_version(context_, version);
    ssl = ::SSL_new(context_);
    ::SSL_set_fd(ssl, client.fd());
  }
  ~TlsClient() {
    ::SSL_free(ssl);
    ::SSL_CTX_free(context_);
    ::ERR_clear_error();
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool Connect() { return ::SSL_connect(ssl) == 1; }
  bool Send(std::string_view text) {
    while (!text.empty()) {
      const int n = ::SSL_write(ssl, text.data(), static_cast<int>(std::min<size_t>(text.size(), 16384)));
      if (n <= 0) return false;
      text.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }
  /// What one record holds; "" = the end.
  std::string Record() {
    char buffer[16384];
    const int n = ::SSL_read(ssl, buffer, sizeof buffer);
    return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : "";
  }
  std::string Read(size_t bytes) {
    std::string out;
    while (out.size() < bytes) {
      const std::string more = Record();
      if (more.empty()) break;
      out += more;
    }
    return out;
  }
  /// The server has said that this is all.
  bool IsOrderlyEnd() {
    char byte = 0;
    const int n = ::SSL_read(ssl, &byte, 1);
    return n == 0 && ::SSL_get_error(ssl, n) == SSL_ERROR_ZERO_RETURN;
  }

  Client client;
  SSL* ssl = nullptr;

 private:
  SSL_CTX* context_;
};

class TlsVersions : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Each, TlsVersions, testing::Values(TLS1_2_VERSION, TLS1_3_VERSION));

TEST_P(TlsVersions, AnswersRequestsOnOneConnectionEachInOneRecord) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port(), GetParam());
  ASSERT_TRUE(client.Connect());
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.Send(kGet));
    const std::string answer = client.Record();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, EndsWith("\r\n\r\nok"));
  }
  EXPECT_EQ(handler.Log().size(), 3U);
}

TEST_P(TlsVersions, AHandshakeThatArrivesByteByByteIsCompleted) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port(), GetParam());
  BIO* in = ::BIO_new(::BIO_s_mem());
  BIO* out = ::BIO_new(::BIO_s_mem());
  ::SSL_set_bio(client.ssl, in, out);
  ::SSL_set_connect_state(client.ssl);
  const auto push = [&] {  // each byte in a segment of its own, which the loop has read before the next
    char byte = 0;
    while (::BIO_read(out, &byte, 1) == 1) {
      ASSERT_TRUE(client.client.Send({&byte, 1}));
      loop.Do([](EventLoop&) {});
    }
  };
  while (::SSL_do_handshake(client.ssl) != 1) {
    push();
    char buffer[4096];
    const ssize_t n = ::recv(client.client.fd(), buffer, sizeof buffer, 0);
    ASSERT_GT(n, 0);
    ::BIO_write(in, buffer, static_cast<int>(n));
  }
  ASSERT_TRUE(client.Send(kGet));
  push();
  std::string answer;
  while (answer.empty()) {
    char buffer[4096];
    const ssize_t n = ::recv(client.client.fd(), buffer, sizeof buffer, 0);
    ASSERT_GT(n, 0);
    ::BIO_write(in, buffer, static_cast<int>(n));
    answer = client.Record();
  }
  EXPECT_THAT(answer, EndsWith("ok"));
}

TEST(Tls, AHandshakeTornAtAnyByteLeavesNothing) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient maker(loop.port());
  BIO* out = ::BIO_new(::BIO_s_mem());
  ::SSL_set_bio(maker.ssl, ::BIO_new(::BIO_s_mem()), out);
  ::SSL_set_connect_state(maker.ssl);
  ::SSL_do_handshake(maker.ssl);
  char hello[4096];
  const int length = ::BIO_read(out, hello, sizeof hello);
  ASSERT_GT(length, 100);
  for (int cut = 0; cut < length; ++cut) {
    Client client(loop.port());
    ASSERT_TRUE(client.Send({hello, static_cast<size_t>(cut)}));
  }
  maker.client.Close();
  EXPECT_TRUE(loop.Until([&] { return loop.EverythingIsZero(); }));
  EXPECT_EQ(handler.Log().size(), 0U);
}

TEST(Tls, GarbageEndsTheConnection) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  for (const std::string& garbage :
       {std::string("\x16\x03\x01\xff\xff no record is as long"), std::string("\x80\x2e\x01 of SSL 2"),
        std::string("\x16\x03\x01\0\x05hello", 10), std::string("\x17\x03\x03\0\x05hello", 10)}) {
    Client client(loop.port());
    ASSERT_TRUE(client.Send(garbage));
    client.ShutDownWriting();
    client.Read(1000);  // an alert, or nothing, and then the end
  }
  EXPECT_TRUE(loop.Until([&] { return loop.EverythingIsZero(); }));
  EXPECT_EQ(tls.failures, 4);
}

TEST(Tls, GarbageAfterTheHandshakeEndsTheConnection) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port());
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(client.client.Send("this is no record at all, whatever the length says it is"));
  client.client.Read(100000);
  EXPECT_TRUE(loop.Until([&] { return loop.EverythingIsZero(); }));
}

TEST(Tls, WhoSpeaksPlainHttpIsToldSo) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("GET /page HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(client.Answer(), StartsWith("HTTP/1.1 400 "));
  EXPECT_TRUE(client.AtEnd());
  client.Close();
  ASSERT_TRUE(loop.Until([&] { return loop.EverythingIsZero(); }));
  ASSERT_EQ(handler.Log().size(), 1U);
  EXPECT_EQ(handler.Log()[0].line, "GET /page HTTP/1.1");
}

TEST(Tls, AClientThatStallsInTheHandshakeIsGivenUp) {
  FakeHandler handler;
  handler.head_timeout.initial_ms = 200;
  FakeTls tls;
  Loop loop(handler, tls);
  Client client(loop.port());
  ASSERT_TRUE(client.Send("\x16\x03\x01"));
  EXPECT_TRUE(client.AtEnd());
  EXPECT_TRUE(loop.Until([&] { return loop.EverythingIsZero(); }));
}

class TlsDownloads : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Each, TlsDownloads, testing::Values("/file/3000000", "/read/3000000", "/3000000"));

TEST_P(TlsDownloads, ASlowReaderGetsEveryByte) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port(), TLS1_3_VERSION, 4096);
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(client.Send(std::string("GET ") + GetParam() + " HTTP/1.1\r\nHost: h\r\n\r\n"));
  ASSERT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  std::string answer = client.Read(3000000);
  const size_t body = answer.find("\r\n\r\n") + 4;
  if (answer.size() < body + 3000000) answer += client.Read(body + 3000000 - answer.size());
  ASSERT_EQ(answer.size(), body + 3000000);
  EXPECT_EQ(answer.find_first_not_of(GetParam()[1] == '3' ? 'b' : 'f', body), std::string::npos);
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Record(), EndsWith("ok"));
  EXPECT_EQ(handler.Log()[0].body_bytes, 3000000U);
}

TEST(Tls, AnUploadAndWhatFollowsItAreReadThoughTheSocketIsSilent) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port());
  ASSERT_TRUE(client.Connect());
  // More than the loop reads at once, then small requests in records of their own behind it.
  std::string requests = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n" + std::string(900000, 'u');
  ASSERT_TRUE(client.Send(requests));
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(client.Send(kGet));
  ASSERT_TRUE(loop.Until([&] { return handler.Log().size() == 51; }));
  EXPECT_EQ(handler.Log()[0].bytes_in, requests.size());
}

TEST(Tls, RequestsBehindASlowAnswerAreNotForgotten) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port(), TLS1_3_VERSION, 4096);
  ASSERT_TRUE(client.Connect());
  // All in OpenSSL's buffer with the first one; each answer blocks, so they are read at different times.
  std::string burst;
  for (int i = 0; i < 40; ++i) burst += "GET /300000 HTTP/1.1\r\nHost: h\r\nX: " + std::string(3000, 'x') + "\r\n\r\n";
  ASSERT_TRUE(client.Send(burst));
  size_t bytes = 0;
  while (bytes < 40 * 300000) {
    const std::string record = client.Record();
    ASSERT_FALSE(record.empty()) << bytes;
    bytes += record.size();
  }
  EXPECT_TRUE(loop.Until([&] { return handler.Log().size() == 40; }));
}

TEST(Tls, AClientThatSaysItSendsNoMoreGetsItsAnswer) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port(), TLS1_3_VERSION, 4096);
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(client.Send("GET /file/9000000 HTTP/1.1\r\nHost: h\r\n\r\n"));
  ASSERT_TRUE(loop.Until([&] { return loop.counters().writing == 1; }));
  ::SSL_shutdown(client.ssl);
  client.client.ShutDownWriting();
  EXPECT_EQ(client.Read(9000100).size() / 1000, 9000U);
  ASSERT_TRUE(loop.Until([&] { return handler.Log().size() == 1; }));
  EXPECT_FALSE(handler.Log()[0].aborted);
}

TEST(Tls, TheEndIsSaidWhereAllWasSentAndOnlyThere) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient whole(loop.port());
  ASSERT_TRUE(whole.Connect());
  ASSERT_TRUE(whole.Send("GET /close HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(whole.Record(), EndsWith("ok"));
  EXPECT_TRUE(whole.IsOrderlyEnd());

  TlsClient cut(loop.port());
  ASSERT_TRUE(cut.Connect());
  ASSERT_TRUE(cut.Send("GET /truncated HTTP/1.1\r\nHost: h\r\n\r\n"));
  cut.Read(10000);
  EXPECT_EQ(::SSL_get_shutdown(cut.ssl) & SSL_RECEIVED_SHUTDOWN, 0);
}

TEST(Tls, AKeptConnectionEndsInOrderWhenItsTimeIsUp) {
  FakeHandler handler;
  handler.keep_alive_timeout_ms = 100;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port());
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Record(), EndsWith("ok"));
  EXPECT_TRUE(client.IsOrderlyEnd());
}

TEST(Tls, ItIsNotPassedToASuccessorButToldToClose) {
  FakeHandler handler;
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port());
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Record(), EndsWith("ok"));
  DrainPlan plan;
  plan.successor = loop.intake_sender();
  loop.Do([plan](EventLoop& l) { l.Drain(plan); });
  EXPECT_EQ(loop.counters().passed, 0U);
  ASSERT_TRUE(client.Send(kGet));
  EXPECT_THAT(client.Record(), HasSubstr("Connection: close\r\n"));
  EXPECT_TRUE(client.IsOrderlyEnd());
}

TEST(Tls, TheHandlerIsToldThatARequestCameOverTls) {
  FakeHandler handler;
  handler.answer = [](const Request& request, Response& response) {
    response.body = request.is_tls && request.tls != nullptr ? "tls" : "plain";
  };
  FakeTls tls;
  Loop loop(handler, tls);
  TlsClient client(loop.port());
  ASSERT_TRUE(client.Connect());
  ASSERT_TRUE(client.Send("GET /custom HTTP/1.1\r\nHost: h\r\n\r\n"));
  EXPECT_THAT(client.Record(), EndsWith("tls"));
}

}  // namespace
}  // namespace httpd::net
