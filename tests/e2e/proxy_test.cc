// Proxying by a whole server: nobody's request fails while it is restarted, tunnels end at the deadline.
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <future>
#include <mutex>

#include "os/socket.h"
#include "tests/e2e/server.h"
#include "tests/support/scripted_server.h"

namespace {

using e2e::Connection;
using support::Peer;

class Proxying : public e2e::Server {
 protected:
  void Begin(const std::string& more, int graceful_shutdown = 60) {
    Settings settings;
    settings.more = more;
    settings.graceful_shutdown = graceful_shutdown;
    Configure(settings);
    Start();
  }
};

TEST_F(Proxying, NoRequestFailsWhileTheProxyIsRestartedAgainAndAgain) {
  support::ScriptedServer backend({}, [](Peer& peer) {
    const std::string head = peer.ReadHead();
    if (!head.empty()) peer.Send(support::Response(head.substr(0, head.find(" HTTP"))));
    peer.Close();
  });
  Begin("ProxyPass /p/ http://" + backend.address().Text() + "/ disablereuse=On\n");
  std::atomic<bool> done = false;
  std::atomic<int> answered = 0;
  std::string failure;
  std::thread client([&] {
    std::optional<Connection> connection;
    while (!done && failure.empty()) {
      if (!connection) connection = Connection::Open(port_);
      const std::string path = "/p/" + std::to_string(answered);
      if (!connection || !connection->Send(e2e::GetRequest(path))) {
        failure = "not connected";
        break;
      }
      const auto answer = connection->Read();
      if (!answer || answer->status != 200 || answer->body != "GET /" + std::to_string(answered)) {
        failure = answer ? std::to_string(answer->status) + " " + answer->body : connection->Why();
        break;
      }
      ++answered;
      if (answer->SaysClose()) connection.reset();
    }
  });
  for (int i = 0; i < 3; ++i) {
    const int before = answered;
    EXPECT_EQ(Httpd({"-k", "graceful", "--wait"}).status, 0);
    EXPECT_TRUE(e2e::Eventually([&] { return answered > before + 5 || !failure.empty(); }));
  }
  done = true;
  client.join();
  EXPECT_EQ(failure, "");
}

TEST_F(Proxying, TunnelGoesOnWhileTheServerLeavesAndEndsAtItsDeadline) {
  support::ScriptedServer backend({[](Peer& peer) {
                                    peer.ReadHead();
                                    peer.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
                                    for (std::string text = peer.ReadBytes(4); !text.empty();
                                         text = peer.ReadBytes(4)) {
                                      peer.Send("<" + text + ">");
                                    }
                                  }},
                                  [](Peer& peer) { peer.Close(); });
  Begin("ProxyPass /ws http://" + backend.address().Text() + "/ws upgrade=websocket\n", 1);
  auto connection = Connection::Open(port_);
  ASSERT_TRUE(connection);
  connection->Send(e2e::GetRequest("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    const std::string byte = connection->ReadSome(1);
    ASSERT_FALSE(byte.empty()) << head;
    head += byte;
  }
  EXPECT_NE(head.find("HTTP/1.1 101 "), std::string::npos) << head;
  connection->Send("ping");
  EXPECT_EQ(connection->ReadSome(6), "<ping>");
  EXPECT_EQ(Httpd({"-k", "graceful-stop"}).status, 0);
  EXPECT_TRUE(e2e::Eventually([this] { return Pid() == 0; }));
  connection->Send("pong");
  EXPECT_EQ(connection->ReadSome(6), "<pong>") << "a tunnel is a request in progress";
  EXPECT_TRUE(connection->ReachesEnd());
  EXPECT_TRUE(e2e::Eventually([this] { return Parents().empty(); }));
}

/// A backend that keeps its connections, each in a thread of its own, and knows which of them are still open.
class KeepingBackend {
 public:
  KeepingBackend() : listener_(os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 64).value()) {
    ::fcntl(listener_.get(), F_SETFL, 0);
    accepting_ = std::thread([this] {
      for (;;) {
        os::Fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd.valid()) return;
        const std::lock_guard<std::mutex> lock(mutex_);
        const size_t number = open_.size();
        open_.push_back(os::Fd(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)));
        threads_.emplace_back([this, number, moved = std::make_shared<os::Fd>(std::move(fd))] {
          Peer peer(std::move(*moved));
          for (std::string head = peer.ReadHead(); !head.empty(); head = peer.ReadHead()) {
            peer.Send(support::Response(head.substr(0, head.find(" HTTP"))));
          }
          const std::lock_guard<std::mutex> closing(mutex_);
          open_[number].Reset();
        });
      }
    });
  }
  ~KeepingBackend() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    accepting_.join();
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (const os::Fd& fd : open_) ::shutdown(fd.get(), SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }
  std::string Url() const { return "http://" + os::SocketAddress::OfSocket(listener_).value().Text(); }
  size_t Opened() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return open_.size();
  }
  /// How many of the first `count` connections are open.
  size_t StillOpen(size_t count) const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return static_cast<size_t>(std::count_if(open_.begin(), open_.begin() + static_cast<ptrdiff_t>(count),
                                             [](const os::Fd& fd) { return fd.valid(); }));
  }

 private:
  os::Fd listener_;
  mutable std::mutex mutex_;
  std::vector<os::Fd> open_;
  std::vector<std::thread> threads_;
  std::thread accepting_;
};

TEST_F(Proxying, UpgradeLosesNothingThatGoesThroughTheProxyAndGivesUpKeptConnections) {
  KeepingBackend keeping;
  support::ScriptedServer echo({[](Peer& peer) {
                                 peer.ReadHead();
                                 peer.Send("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n");
                                 for (std::string text = peer.ReadBytes(4); !text.empty(); text = peer.ReadBytes(4)) {
                                   peer.Send("<" + text + ">");
                                 }
                               }},
                               [](Peer& peer) { peer.Close(); });
  std::promise<void> rest;
  support::ScriptedServer slow({[&rest](Peer& peer) {
                                 peer.ReadHead();
                                 peer.Send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
                                 rest.get_future().wait();
                                 peer.Send("-rest");
                               }},
                               [](Peer& peer) { peer.Close(); });
  Begin("ProxyPass /kept/ " + keeping.Url() + "/\nProxyPass /slow http://" + slow.address().Text() +
        "/\nProxyPass /ws http://" + echo.address().Text() + "/ upgrade=websocket\n");
  auto tunnel = Connection::Open(port_);
  ASSERT_TRUE(tunnel);
  tunnel->Send(e2e::GetRequest("/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\n"));
  std::string head;
  while (head.find("\r\n\r\n") == std::string::npos) {
    const std::string byte = tunnel->ReadSome(1);
    ASSERT_FALSE(byte.empty()) << head;
    head += byte;
  }
  tunnel->Send("one1");
  EXPECT_EQ(tunnel->ReadSome(6), "<one1>");
  auto download = Connection::Open(port_);
  ASSERT_TRUE(download && download->Send(e2e::GetRequest("/slow")) && download->AwaitBytes());

  std::atomic<bool> done = false;
  std::atomic<int> answered = 0;
  std::string failure;
  std::thread client([&] {
    auto connection = Connection::Open(port_);
    while (!done && failure.empty()) {
      const std::string number = std::to_string(answered);
      if (!connection || !connection->Send(e2e::GetRequest("/kept/" + number))) {
        failure = "not connected";
        break;
      }
      const auto answer = connection->Read();
      if (!answer || answer->status != 200 || answer->body != "GET /" + number) {
        failure = answer ? std::to_string(answer->status) + " " + answer->body : connection->Why();
        break;
      }
      ++answered;
      if (answer->SaysClose()) connection = Connection::Open(port_);
    }
  });
  EXPECT_TRUE(e2e::Eventually([&] { return answered > 5 || !failure.empty(); }));
  const size_t opened = keeping.Opened();
  EXPECT_GT(opened, 0U);
  const pid_t old = Pid();
  const e2e::Outcome upgraded = Orchestrator("upgrade", {"--bake", "0", "--detach"});
  EXPECT_EQ(upgraded.status, 0) << upgraded.All();
  EXPECT_NE(Pid(), old);
  EXPECT_TRUE(e2e::Eventually([&] { return keeping.StillOpen(opened) == 0; }))
      << keeping.StillOpen(opened) << " of " << opened << " kept connections of the old instance are open";
  EXPECT_EQ(Parents().size(), 2U) << "the old instance still has requests in progress";
  const int before = answered;
  EXPECT_TRUE(e2e::Eventually([&] { return answered > before + 5 || !failure.empty(); }));
  done = true;
  client.join();
  EXPECT_EQ(failure, "");
  tunnel->Send("two2");
  EXPECT_EQ(tunnel->ReadSome(6), "<two2>") << "a tunnel is a request in progress";
  rest.set_value();
  const auto slow_answer = download->Read();
  ASSERT_TRUE(slow_answer) << download->Why();
  EXPECT_EQ(slow_answer->body, "first-rest");
  tunnel.reset();
  EXPECT_TRUE(e2e::Eventually([this] { return Parents().size() == 1; }));
}

TEST_F(Proxying, RealClientAndServerSeeNoDifferenceOverTls) {
  const uint16_t behind = e2e::FreePort();
  const auto file = [this](const char* name) { return (root_ / "conf" / name).string(); };
  const e2e::Outcome made =
      e2e::Execute({"/usr/bin/openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=behind", "-addext",
                    "subjectAltName=IP:127.0.0.1", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout",
                    file("behind.key"), "-out", file("behind.crt")});
  ASSERT_EQ(made.status, 0) << made.All();
  const std::string backend = "https://127.0.0.1:" + std::to_string(behind) + "/";
  Begin("Listen 127.0.0.1:" + std::to_string(behind) + " https\nLogFormat \"%{SSL_SESSION_RESUMED}x %r\" tls\n" +
        "CustomLog logs/tls.log tls\n<VirtualHost *:" + std::to_string(behind) +
        ">\nServerName behind\nSSLEngine on\nSSLCertificateFile conf/behind.crt\n" +
        "SSLCertificateKeyFile conf/behind.key\n</VirtualHost>\n<VirtualHost *:" + std::to_string(port_) +
        ">\nServerName front\nSSLProxyEngine On\nSSLProxyVerify require\n" +
        "SSLProxyCACertificateFile conf/behind.crt\nProxyPass /close/ " + backend + " disablereuse=On\n" +
        "ProxyPass / " + backend + "\n</VirtualHost>\n");
  const auto proxied = Get("/big.bin");
  ASSERT_TRUE(proxied);
  EXPECT_EQ(proxied->status, 200) << ErrorLog();
  EXPECT_TRUE(proxied->body == e2e::FileText(root_ / "site" / "big.bin")) << proxied->body.size();
  for (int i = 0; i < 8; ++i) EXPECT_EQ(Get("/close/index.html")->status, 200);
  EXPECT_TRUE(e2e::Eventually([this] {
    return e2e::FileText(root_ / "logs" / "tls.log").find("Resumed GET /index.html") != std::string::npos;
  }));
  const e2e::Outcome curl =
      e2e::Execute({"/usr/bin/curl", "-sS", "-T", (root_ / "site" / "big.bin").string(), "-H", "Expect: 100-continue",
                    "-o", "/dev/null", "-w", "%{http_code}", "http://127.0.0.1:" + std::to_string(port_) + "/none"});
  EXPECT_EQ(curl.out, "405") << curl.All();
}

TEST_F(Proxying, RealClientAndServerSeeNoDifference) {
  const uint16_t behind = e2e::FreePort();
  Settings settings;
  settings.ports = {port_, behind};
  settings.more = "<VirtualHost *:" + std::to_string(port_) +
                  ">\nServerName front\nProxyPass / http://127.0.0.1:" + std::to_string(behind) + "/\n</VirtualHost>\n";
  Configure(settings);
  Start();
  const auto direct = Get("/big.bin", behind);
  const auto proxied = Get("/big.bin", port_);
  ASSERT_TRUE(direct && proxied);
  EXPECT_EQ(proxied->status, 200);
  EXPECT_TRUE(proxied->body == direct->body) << proxied->body.size();
  EXPECT_EQ(proxied->headers.at("etag"), direct->headers.at("etag"));
  const e2e::Outcome curl =
      e2e::Execute({"/usr/bin/curl", "-sS", "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-r", "5-9",
                    "http://127.0.0.1:" + std::to_string(port_) + "/big.bin"});
  EXPECT_EQ(curl.out, "206 5") << curl.All();
}

}  // namespace
