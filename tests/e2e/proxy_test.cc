// Proxying by a whole server: nobody's request fails while it is restarted, tunnels end at the deadline.
#include <signal.h>

#include <atomic>

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
