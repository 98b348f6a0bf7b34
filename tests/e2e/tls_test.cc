#include <gmock/gmock.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>

#include <atomic>
#include <thread>

#include "os/socket.h"
#include "tests/e2e/server.h"

namespace {

using e2e::Eventually;
using e2e::Execute;
using e2e::FileText;
using e2e::Outcome;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

/// A client's connection; every wait is bounded by the socket's.
class TlsClient {
 public:
  explicit TlsClient(uint16_t port) : context_(::SSL_CTX_new(::TLS_client_method())) {
    auto address = os::SocketAddress::FromIp("127.0.0.1", port);
    fd_ = os::Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval patience{30, 0};
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (!address || ::connect(fd_.get(), address.value().raw(), address.value().length()) != 0) return;
    ssl_ = ::SSL_new(context_);
    ::SSL_set_fd(ssl_, fd_.get());
    is_open_ = ::SSL_connect(ssl_) == 1;
  }
  ~TlsClient() {
    ::SSL_free(ssl_);
    ::SSL_CTX_free(context_);
    ::ERR_clear_error();
  }
  TlsClient(const TlsClient&) = delete;
  TlsClient& operator=(const TlsClient&) = delete;

  bool is_open() const { return is_open_; }
  /// Head and body; "" = none, or not all of it.
  std::string Get(const std::string& path) {
    const std::string request = e2e::GetRequest(path);
    if (::SSL_write(ssl_, request.data(), static_cast<int>(request.size())) <= 0) return "";
    std::string out;
    char buffer[16384];
    for (;;) {
      const size_t head = out.find("\r\n\r\n");
      const size_t field = out.find("Content-Length: ");
      if (head != std::string::npos && field < head &&
          out.size() >= head + 4 + std::stoul(out.substr(field + 16, out.find('\r', field) - field - 16))) {
        return out;
      }
      const int n = ::SSL_read(ssl_, buffer, sizeof buffer);
      if (n <= 0) return "";
      out.append(buffer, static_cast<size_t>(n));
    }
  }

 private:
  SSL_CTX* context_;
  SSL* ssl_ = nullptr;
  os::Fd fd_;
  bool is_open_ = false;
};

class Tls : public e2e::Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (HasFatalFailure()) return;
    ::signal(SIGPIPE, SIG_IGN);
    tls_ = e2e::FreePort();
    Certificate("a", "a.example");
    Certificate("b", "b.example");
    std::filesystem::create_directories(root_ / "site" / "folder");
  }

  std::string File(const std::string& name) const { return (root_ / "conf" / name).string(); }

  void Certificate(const std::string& name, const std::string& host, const std::string& kind = "ec") const {
    std::vector<std::string> words = {"/usr/bin/openssl",
                                      "req",
                                      "-x509",
                                      "-nodes",
                                      "-days",
                                      "2",
                                      "-subj",
                                      "/O=test/CN=" + host,
                                      "-addext",
                                      "subjectAltName=DNS:" + host,
                                      "-keyout",
                                      File(name + ".key"),
                                      "-out",
                                      File(name + ".crt"),
                                      "-newkey"};
    if (kind == "ec") {
      words.insert(words.end(), {"ec", "-pkeyopt", "ec_paramgen_curve:P-256"});
    } else {
      words.push_back(kind);
    }
    const Outcome made = Execute(words);
    ASSERT_EQ(made.status, 0) << made.All();
    ::chmod(File(name + ".key").c_str(), 0600);  // root's alone: the parent reads it
  }

  std::string Host(const std::string& name, const std::string& more = "") const {
    return "<VirtualHost 127.0.0.1:" + std::to_string(tls_) + ">\nServerName " + name +
           ".example\nSSLEngine on\nSSLCertificateFile conf/" + name + ".crt\nSSLCertificateKeyFile conf/" + name +
           ".key\n" + more + "\n</VirtualHost>\n";
  }

  void ConfigureTls(const std::string& hosts) {
    Settings settings;
    settings.more = "Listen 127.0.0.1:" + std::to_string(tls_) + " https\n" +
                    "LogFormat \"%{SSL_PROTOCOL}x %{SSL_CLIENT_S_DN_CN}x %{SSL_SESSION_RESUMED}x %{HTTPS}e %r\" tls\n"
                    "CustomLog logs/tls.log tls\n" +
                    hosts;
    Configure(settings);
  }

  /// curl, with the name of a host and what it is to trust.
  Outcome Curl(const std::string& host, const std::string& path, std::vector<std::string> more = {}) const {
    std::vector<std::string> words = {"/usr/bin/curl",
                                      "-sS",
                                      "-i",
                                      "--max-time",
                                      "30",
                                      "--resolve",
                                      host + ":" + std::to_string(tls_) + ":127.0.0.1",
                                      "--cacert",
                                      File("a.crt")};
    words.insert(words.end(), more.begin(), more.end());
    words.push_back("https://" + host + ":" + std::to_string(tls_) + path);
    return Execute(words);
  }

  /// openssl s_client with a request; its whole output.
  std::string Ask(const std::string& options) const {
    const Outcome said =
        Execute({"/bin/sh", "-c",
                 "printf 'GET /index.html HTTP/1.1\\r\\nHost: a.example\\r\\nConnection: close\\r\\n\\r\\n' | "
                 "timeout 30 openssl s_client -ign_eof -servername a.example -connect 127.0.0.1:" +
                     std::to_string(tls_) + " " + options + " 2>&1"});
    return said.out;
  }

  uint16_t tls_ = 0;
};

TEST_F(Tls, APageIsServedAndWhatTheServerSaysOfItselfIsHttps) {
  ConfigureTls(Host("a"));
  Start();
  const Outcome page = Curl("a.example", "/index.html");
  EXPECT_EQ(page.status, 0) << page.All();
  EXPECT_THAT(page.out, HasSubstr("<title>front page</title>"));
  const Outcome moved = Curl("a.example", "/folder");
  EXPECT_THAT(moved.out, HasSubstr("Location: https://a.example:" + std::to_string(tls_) + "/folder/\r\n"));
  EXPECT_THAT(Execute({"/usr/bin/curl", "-s", "-i", "http://127.0.0.1:" + std::to_string(tls_) + "/"}).out,
              testing::AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr("You're speaking plain HTTP to an SSL-enabled")));
  EXPECT_TRUE(Eventually([this] {
    return FileText(root_ / "logs" / "tls.log").find("TLSv1.3 - Initial on GET /index.html") != std::string::npos;
  })) << FileText(root_ / "logs" / "tls.log");
}

TEST_F(Tls, TheNameThatTheClientSaysChoosesTheCertificate) {
  ConfigureTls(Host("a") + Host("b"));
  Start();
  EXPECT_THAT(Curl("a.example", "/index.html").out, HasSubstr(" 200 OK"));
  EXPECT_EQ(Curl("b.example", "/index.html").status, 60) << "the wrong certificate";
  EXPECT_THAT(Curl("b.example", "/index.html", {"--cacert", File("b.crt")}).out, HasSubstr(" 200 OK"));
  // One name in the handshake, another in the request.
  EXPECT_THAT(Curl("a.example", "/index.html", {"-H", "Host: b.example"}).out, StartsWith("HTTP/1.1 421 "));
  EXPECT_THAT(Curl("a.example", "/index.html", {"-H", "Host: other.example"}).out, HasSubstr(" 200 OK"));
}

TEST_F(Tls, SessionsAreResumedByEveryChildAndAfterARestartAndAnUpgrade) {
  ConfigureTls(Host("a"));
  Start();
  for (const char* version : {"-tls1_2", "-tls1_3"}) {
    const std::string session = File(std::string("session") + version);
    EXPECT_THAT(Ask(std::string(version) + " -sess_out " + session), HasSubstr("New, TLSv1."));
    const auto resume = [&] { return Ask(std::string(version) + " -sess_in " + session); };
    for (int i = 0; i < 6; ++i) EXPECT_THAT(resume(), HasSubstr("Reused, TLSv1.")) << version;  // of whichever child
    ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
    EXPECT_THAT(resume(), HasSubstr("Reused, TLSv1.")) << version;
    const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
    ASSERT_EQ(upgraded.status, 0) << upgraded.All();
    EXPECT_THAT(resume(), HasSubstr("Reused, TLSv1.")) << version;
  }
}

TEST_F(Tls, ClientsShowCertificates) {
  Certificate("client", "somebody");
  ConfigureTls(Host("a", "SSLVerifyClient require\nSSLCACertificateFile conf/client.crt"));
  Start();
  EXPECT_NE(Curl("a.example", "/index.html").status, 0);
  const std::vector<std::string> own = {"--cert", File("client.crt"), "--key", File("client.key")};
  EXPECT_THAT(Curl("a.example", "/index.html", own).out, HasSubstr(" 200 OK"));
  const std::vector<std::string> other = {"--cert", File("b.crt"), "--key", File("b.key")};
  EXPECT_NE(Curl("a.example", "/index.html", other).status, 0);
  EXPECT_TRUE(Eventually([this] {
    return FileText(root_ / "logs" / "tls.log").find("somebody Initial") != std::string::npos;
  })) << FileText(root_ / "logs" / "tls.log");
}

TEST_F(Tls, AClientMayNotRenegotiate) {
  ConfigureTls(Host("a"));
  Start();
  const Outcome said = Execute(
      {"/bin/sh", "-c",
       "(echo R; sleep 0.3; echo Q) | timeout 30 openssl s_client -tls1_2 -connect 127.0.0.1:" + std::to_string(tls_) +
           " 2>&1"});
  EXPECT_THAT(said.out, HasSubstr("no renegotiation"));
}

TEST_F(Tls, WhatIsWrongWithAKeyIsSaidBeforeAnythingStarts) {
  const auto check = [this](const std::string& hosts) {
    ConfigureTls(hosts);
    const Outcome checked = Httpd({"-t"});
    EXPECT_NE(checked.status, 0);
    return checked.All();
  };
  const std::string at = "Syntax error on line ";
  Execute({"/usr/bin/openssl", "pkey", "-in", File("a.key"), "-aes128", "-passout", "pass:word", "-out",
           File("locked.key")});
  const auto with = [this](const std::string& certificate, const std::string& key, const std::string& more = "") {
    return "<VirtualHost 127.0.0.1:" + std::to_string(tls_) + ">\nServerName a.example\nSSLCertificateFile conf/" +
           certificate + "\nSSLCertificateKeyFile conf/" + key + "\n" + more + "</VirtualHost>\n";
  };
  EXPECT_THAT(check(with("a.crt", "b.key")), testing::AllOf(HasSubstr("AH02565"), HasSubstr("do not match")));
  EXPECT_THAT(check(with("a.crt", "locked.key")), testing::AllOf(HasSubstr("AH02564"), HasSubstr("encrypted")));
  EXPECT_THAT(check(with("none.crt", "a.key")), HasSubstr("none.crt' cannot be read: No such file"));
  EXPECT_THAT(check(with("a.key", "a.key")), HasSubstr("AH02561"));
  EXPECT_THAT(check("<VirtualHost 127.0.0.1:" + std::to_string(tls_) + ">\nServerName a.example\n</VirtualHost>\n"),
              HasSubstr("AH02572"));
  ConfigureTls("SSLPassPhraseDialog exec:" + Script("phrase", "echo word").string() + "\n" +
               with("a.crt", "locked.key"));
  const Outcome opened = Httpd({"-t"});
  EXPECT_EQ(opened.status, 0) << opened.All();
}

TEST_F(Tls, ARenewedCertificateIsShownAfterAGracefulRestart) {
  ConfigureTls(Host("a"));
  Start();
  EXPECT_THAT(Curl("a.example", "/index.html").out, HasSubstr(" 200 OK"));
  const std::string old = FileText(File("a.crt"));
  Certificate("a", "a.example", "rsa:2048");
  ASSERT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  EXPECT_THAT(Curl("a.example", "/index.html").out, HasSubstr(" 200 OK"));
  e2e::WriteFile(root_ / "conf" / "old.crt", old);
  EXPECT_EQ(Curl("a.example", "/index.html", {"--cacert", File("old.crt")}).status, 60);
}

TEST_F(Tls, NobodyFailsWhileTheServerIsRestartedAndReplaced) {
  ConfigureTls(Host("a"));
  Start();
  std::atomic<bool> stop = false;
  std::atomic<int> answered = 0;
  std::atomic<int> failed = 0;
  const auto work = [&](bool keeps) {
    while (!stop) {
      TlsClient client(tls_);
      if (!client.is_open()) ++failed;
      std::string answer;
      do {
        answer = client.is_open() ? client.Get("/page.html") : "";
        ++(answer.empty() ? failed : answered);
      } while (!answer.empty() && keeps && !stop && answer.find("Connection: close") == std::string::npos);
    }
  };
  std::vector<std::thread> clients;
  for (int i = 0; i < 4; ++i) clients.emplace_back(work, i % 2 == 0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
  const Outcome upgraded = Orchestrator("upgrade", {"--bake", "0"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  const int so_far = answered;
  EXPECT_TRUE(Eventually([&] { return answered > so_far + 20; }));
  stop = true;
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(answered, 20);
}

}  // namespace
