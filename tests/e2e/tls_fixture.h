#pragma once

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <vector>

#include "os/fd.h"
#include "os/socket.h"
#include "tests/e2e/server.h"

namespace e2e {

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
    const std::string request = GetRequest(path);
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

/// A server that speaks TLS on a port of its own, and its clients.
class Tls : public Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (HasFatalFailure()) return;
    ::signal(SIGPIPE, SIG_IGN);
    tls_ = FreePort();
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

  void OpenSsl(std::vector<std::string> words) const {
    words.insert(words.begin(), "/usr/bin/openssl");
    const Outcome made = Execute(words);
    ASSERT_EQ(made.status, 0) << made.All();
  }

  /// name.crt and name.key, which may sign others.
  void Authority(const std::string& name) const {
    OpenSsl({"req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=authority " + name, "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-keyout", File(name + ".key"), "-out", File(name + ".crt")});
  }

  /// name.crt for `host`, signed by an authority, whose certificate stands behind it, and name.key.
  /// @param more  a line of extensions
  void Signed(const std::string& name, const std::string& host, int serial, const std::string& authority,
              const std::string& more = "", const std::string& kind = "ec") const {
    WriteFile(File("ext"), "subjectAltName=DNS:" + host + "\n" + more + "\n");
    std::vector<std::string> request = {
        "req",  "-new",      "-nodes",  "-subj", "/O=test/CN=" + host, "-keyout", File(name + ".key"),
        "-out", File("csr"), "-newkey", kind};
    if (kind == "ec") request.insert(request.end(), {"-pkeyopt", "ec_paramgen_curve:P-256"});
    OpenSsl(request);
    OpenSsl({"x509", "-req", "-in", File("csr"), "-CA", File(authority + ".crt"), "-CAkey", File(authority + ".key"),
             "-days", "2", "-set_serial", std::to_string(serial), "-extfile", File("ext"), "-out",
             File(name + ".crt")});
    WriteFile(File(name + ".crt"), FileText(File(name + ".crt")) + FileText(File(authority + ".crt")));
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

  /// The words that make a client show name.crt.
  std::vector<std::string> Showing(const std::string& name) const {
    return {"--cert", File(name + ".crt"), "--key", File(name + ".key")};
  }

  /// openssl s_client with a request; its whole output.
  /// @param port  0: the server's
  std::string Ask(const std::string& options, uint16_t port = 0) const {
    return Say("GET /index.html HTTP/1.1\\r\\nHost: a.example\\r\\nConnection: close\\r\\n\\r\\n",
               "-servername a.example " + options, port);
  }
  /// @param request  for printf(1)
  std::string Say(const std::string& request, const std::string& options, uint16_t port = 0) const {
    const Outcome said =
        Execute({"/bin/sh", "-c",
                 "printf '" + request + "' | timeout 30 openssl s_client -ign_eof -connect 127.0.0.1:" +
                     std::to_string(port != 0 ? port : tls_) + " " + options + " 2>&1"});
    return said.out;
  }

  uint16_t tls_ = 0;
};

}  // namespace e2e
