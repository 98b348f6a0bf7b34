#include <gmock/gmock.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "tests/e2e/server.h"
#include "tests/httpd/net/http2_client.h"

namespace {

using e2e::CountOf;
using e2e::Execute;
using e2e::FileText;
using e2e::Outcome;
using testing::HasSubstr;

class Http2 : public e2e::Server {
 protected:
  void StartWith(const std::string& more = "") {
    Configure({.more = "Protocols h2 h2c http/1.1\n" + more});
    Start();
  }
  std::string Url(const std::string& path) const { return "http://127.0.0.1:" + std::to_string(port_) + path; }
  /// What curl says of each answer, a line for each: status and version.
  Outcome Curl(std::vector<std::string> words, const std::string& way = "--http2-prior-knowledge") const {
    words.insert(words.begin(), {"/usr/bin/curl", "-s", way, "-w", "%{http_code} %{http_version}\\n"});
    return Execute(words);
  }
};

TEST_F(Http2, CurlGetsFilesRangesAndErrors) {
  StartWith();
  const std::string big = (outside_ / "big").string();
  EXPECT_EQ(Curl({"-o", big, Url("/big.bin")}).out, "200 2\n");
  EXPECT_TRUE(FileText(big) == FileText(root_ / "site" / "big.bin"));
  EXPECT_EQ(Curl({"-o", "/dev/null", "-r", "0-9,20-29", Url("/big.bin")}).out, "206 2\n");
  EXPECT_EQ(Curl({"-o", "/dev/null", Url("/none")}).out, "404 2\n");
  EXPECT_EQ(Curl({"-I", "-o", "/dev/null", Url("/big.bin")}).out, "200 2\n");
  EXPECT_EQ(Curl({"-o", "/dev/null", Url("/index.html")}, "--http2").out, "200 2\n");  // by Upgrade
  EXPECT_EQ(Curl({"-o", "/dev/null", Url("/index.html")}, "--http1.1").out, "200 1.1\n");
  EXPECT_THAT(FileText(root_ / "logs" / "access.log"), HasSubstr("\"GET /none HTTP/2.0\" 404"));
}

TEST_F(Http2, ProgramsAreToldOfItAndGetBodies) {
  StartWith("ScriptAlias /cgi/ " + (root_ / "cgi").string() + "/\n");
  std::filesystem::create_directories(root_ / "cgi");
  e2e::WriteFile(root_ / "cgi" / "tell",
                 "#!/bin/sh\necho Content-Type: text/plain\necho\n"
                 "echo \"$SERVER_PROTOCOL $HTTP2 $H2_STREAM_ID $HTTP_COOKIE\"\nwc -c\n");
  ::chmod((root_ / "cgi" / "tell").c_str(), 0755);
  const std::string sent = (root_ / "site" / "big.bin").string();
  const Outcome told = Curl({"-H", "Cookie: a=1", "-T", sent, Url("/cgi/tell")});
  EXPECT_EQ(told.out, "HTTP/2.0 on 1 a=1\n20000000\n200 2\n");
}

TEST_F(Http2, ManyStreamsOfManyConnectionsAreAllAnsweredAndLogged) {
  StartWith();
  const Outcome load = Execute({"/usr/bin/h2load", "-n", "3000", "-c", "10", "-m", "100", Url("/index.html")});
  EXPECT_THAT(load.out, HasSubstr("3000 succeeded, 0 failed, 0 errored, 0 timeout")) << load.All();
  ASSERT_TRUE(e2e::Eventually(
      [&] { return CountOf(FileText(root_ / "logs" / "access.log"), "\"GET /index.html HTTP/2.0\" 200") == 3000; }));
}

TEST_F(Http2, GracefulRestartsFailNoStream) {
  StartWith();
  std::atomic<bool> goes_on = true;
  std::atomic<size_t> answered = 0;
  std::atomic<int> told = 0;
  std::string failure;
  std::thread client([&] {
    constexpr int kAtOnce = 50;
    while (goes_on && failure.empty()) {
      httpd::net::Http2Client connection(port_);
      while (goes_on && failure.empty() && connection.goaways.empty()) {
        std::vector<int32_t> streams;
        for (int i = 0; i < kAtOnce; ++i) streams.push_back(connection.Ask("/index.html"));
        connection.Until([&] {
          return std::all_of(streams.begin(), streams.end(), [&](int32_t id) { return connection.Of(id).is_closed; });
        });
        for (const int32_t id : streams) {
          const auto& answer = connection.Of(id);
          if (answer.is_complete && answer.status == 200) {
            ++answered;
          } else if (answer.error != NGHTTP2_REFUSED_STREAM) {  // that may be asked again, on another connection
            failure = "stream " + std::to_string(id) + ": status " + std::to_string(answer.status) + ", error " +
                      std::to_string(answer.error);
          }
        }
      }
      if (!connection.goaways.empty()) ++told;
    }
  });
  for (int i = 0; i < 4; ++i) {
    const size_t before = answered;
    const int told_before = told;
    EXPECT_TRUE(e2e::Eventually([&] { return answered > before + 200 || !failure.empty(); }));
    EXPECT_EQ(Httpd({"-k", "graceful"}).status, 0);
    EXPECT_TRUE(e2e::Eventually([&] { return told > told_before; }));
  }
  goes_on = false;
  client.join();
  EXPECT_EQ(failure, "");
  EXPECT_TRUE(e2e::Eventually([&] {
    return CountOf(FileText(root_ / "logs" / "access.log"), "\"GET /index.html HTTP/2.0\" 200") == answered;
  })) << answered;
}

TEST_F(Http2, IsChosenByAlpnOverTls) {
  const uint16_t tls = e2e::FreePort();
  const std::string key = (root_ / "conf" / "a.key").string(), certificate = (root_ / "conf" / "a.crt").string();
  const Outcome made =
      Execute({"/usr/bin/openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=a.example", "-keyout", key,
               "-out", certificate, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"});
  ASSERT_EQ(made.status, 0) << made.All();
  ::chmod(key.c_str(), 0600);
  Configure({.ports = {port_, tls},
             .more = "Protocols h2 http/1.1\n<VirtualHost *:" + std::to_string(tls) + ">\nSSLEngine on\n" +
                     "SSLCertificateFile " + certificate + "\nSSLCertificateKeyFile " + key + "\n</VirtualHost>\n"});
  Start();
  const std::string url = "https://127.0.0.1:" + std::to_string(tls);
  const std::string big = (outside_ / "big").string();
  EXPECT_EQ(Curl({"-k", "-o", big, url + "/big.bin"}, "--http2").out, "200 2\n");
  EXPECT_TRUE(FileText(big) == FileText(root_ / "site" / "big.bin"));
  EXPECT_EQ(Curl({"-k", "-o", "/dev/null", url + "/index.html"}, "--http1.1").out, "200 1.1\n");
  // Without h2c nobody gets HTTP/2 on a plain connection.
  EXPECT_EQ(Curl({"-o", "/dev/null", Url("/index.html")}, "--http2").out, "200 1.1\n");
  const Outcome load = Execute({"/usr/bin/h2load", "-n", "2000", "-c", "4", "-m", "50", url + "/index.html"});
  EXPECT_THAT(load.out, HasSubstr("2000 succeeded, 0 failed")) << load.All();
  EXPECT_THAT(load.out, HasSubstr("h2")) << load.All();
}

}  // namespace
