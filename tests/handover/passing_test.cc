#include "handover/passing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "os/process.h"
#include "os/socket.h"
#include "tests/os/process_support.h"

namespace handover {
namespace {

class PassingTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked"; }

  static PassedConnection Connection(std::string unread, uint32_t requests) {
    PassedConnection out;
    out.fd = os::Fd(::dup(0));
    out.unread = std::move(unread);
    out.requests = requests;
    return out;
  }
  /// An `adopt` message with `descriptors` descriptors.
  static Message Adopt(const std::vector<std::string>& lines, std::string body, int descriptors) {
    Message message("adopt");
    for (const auto& line : lines) message.Add("CONN", line);
    message.body = std::move(body);
    for (int i = 0; i < descriptors; ++i) message.descriptors.emplace_back(::dup(0));
    return message;
  }
  std::map<int, std::string> before_ = tests::OpenDescriptors();
};

TEST_F(PassingTest, EveryConnectionKeepsItsBytesAndItsCount) {
  std::vector<PassedConnection> list;
  list.push_back(Connection("GET /1", 1));
  list.push_back(Connection("", 4'000'000'000U));
  list.push_back(Connection(std::string("\0\n\n", 3), 0));
  const int last = list.back().fd.get();
  auto back = UnpackConnections(PackConnections(list));
  EXPECT_TRUE(list.empty());
  ASSERT_TRUE(back) << back.error().Text();
  ASSERT_EQ(back.value().size(), 3U);
  EXPECT_EQ(back.value()[0].fd.get(), last) << "from the back";
  EXPECT_EQ(back.value()[0].unread, std::string("\0\n\n", 3));
  EXPECT_EQ(back.value()[1].requests, 4'000'000'000U);
  EXPECT_EQ(back.value()[2].unread, "GET /1");
  EXPECT_EQ(back.value()[2].requests, 1U);
}

TEST_F(PassingTest, TheTimeThatAClientWasPromisedGoesAlong) {
  std::vector<PassedConnection> list;
  list.push_back(Connection("", 3));
  list.back().wait_ms = 29'500;
  auto back = UnpackConnections(PackConnections(list));
  ASSERT_TRUE(back) << back.error().Text();
  EXPECT_EQ(back.value()[0].wait_ms, 29'500U);
  auto silent = UnpackConnections(Adopt({"3,0"}, "", 1));
  ASSERT_TRUE(silent) << silent.error().Text();
  EXPECT_EQ(silent.value()[0].wait_ms, 0U);
}

TEST_F(PassingTest, WhoseConnectionAProxyHasToldGoesAlong) {
  std::vector<PassedConnection> list;
  list.push_back(Connection("", 1));
  list.push_back(Connection("x", 2));
  list.back().is_proxied = true;
  list.back().client = "2001:db8::5";
  list.back().client_port = 65535;
  auto back = UnpackConnections(PackConnections(list));
  ASSERT_TRUE(back) << back.error().Text();
  EXPECT_TRUE(back.value()[0].is_proxied);
  EXPECT_EQ(back.value()[0].client, "2001:db8::5");
  EXPECT_EQ(back.value()[0].client_port, 65535);
  EXPECT_FALSE(back.value()[1].is_proxied);
}

TEST_F(PassingTest, WhatIsNoAddressOfAClientIsRefused) {
  const auto with = [](const std::string& client) {
    Message message = Adopt({"1,0"}, "", 1);
    message.Add("CLIENT", client);
    return UnpackConnections(std::move(message));
  };
  EXPECT_TRUE(with("0,1,192.0.2.1"));
  for (const char* line : {"", "0", "0,1", "0,1,", "1,1,192.0.2.1", "0,65536,192.0.2.1", "0,1,name", "0,1,192.0.2.1 ",
                           "-1,1,192.0.2.1", "x,1,192.0.2.1", "0,1;192.0.2.1"}) {
    EXPECT_FALSE(with(line)) << line;
  }
}

TEST_F(PassingTest, ALongListGoesInPacketsThatTheReceiverTakes) {
  auto pair = os::SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  std::vector<PassedConnection> list;
  for (uint32_t i = 0; i < 450; ++i)
    list.push_back(Connection(i % 50 == 0 ? std::string(kMaxUnreadBytes, 'x') : "", i));
  std::vector<int> seen(450, 0);
  int packets = 0;
  while (!list.empty()) {
    ++packets;
    const Message message = PackConnections(list);
    EXPECT_LE(message.descriptors.size(), 200U);
    EXPECT_LE(message.body.size(), 64U << 10);
    ASSERT_TRUE(Send(pair.value().first, message));
    auto got = Receive(pair.value().second);
    ASSERT_TRUE(got) << got.error().Text();
    auto connections = UnpackConnections(std::move(got).value());
    ASSERT_TRUE(connections);
    for (const auto& connection : connections.value()) {
      ++seen.at(connection.requests);
      EXPECT_EQ(connection.unread.size(), connection.requests % 50 == 0 ? kMaxUnreadBytes : 0);
    }
  }
  EXPECT_THAT(seen, ::testing::Each(1));
  EXPECT_GE(packets, 3);
}

TEST_F(PassingTest, AnEmptyListIsABugOfTheCaller) {
  std::vector<PassedConnection> none;
  EXPECT_THROW(static_cast<void>(PackConnections(none)), std::logic_error);
}

TEST_F(PassingTest, WhatDoesNotAddUpIsRefusedAndItsDescriptorsClose) {
  EXPECT_TRUE(UnpackConnections(Adopt({"1,2", "0,0"}, "ab", 2)));
  EXPECT_FALSE(UnpackConnections(Adopt({"1,2"}, "ab", 2))) << "a descriptor too many";
  EXPECT_FALSE(UnpackConnections(Adopt({"1,2", "0,0"}, "ab", 1))) << "a line too many";
  EXPECT_FALSE(UnpackConnections(Adopt({"1,3"}, "ab", 1))) << "body too short";
  EXPECT_FALSE(UnpackConnections(Adopt({"1,1"}, "ab", 1))) << "body too long";
  EXPECT_FALSE(UnpackConnections(Adopt({"1,18446744073709551615", "1,3"}, "ab", 2))) << "a length that wraps around";
  for (const char* line :
       {"", ",", "1", "1,", ",1", "-1,0", "1,-1", "1,0x", "1;0", "4294967296,0", "1,0,", "1,0,x", "1,0,0,0", " 1,0"}) {
    auto got = UnpackConnections(Adopt({line}, "", 1));
    ASSERT_FALSE(got) << line;
    EXPECT_EQ(got.error().kind, os::ErrorKind::kInvalid);
  }
}

// The promise itself: a client talks to one process, another process takes the connection over in the middle of a
// request that was half read, and the client's next answer comes over the same connection.
TEST_F(PassingTest, AClientSeesOneConnectionWhileAnotherProcessTakesItOverInTheMiddleOfARequest) {
  auto listener = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 10);
  ASSERT_TRUE(listener);
  const auto address = os::SocketAddress::OfSocket(listener.value()).value();
  const os::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), address.raw(), address.length()), 0);
  pollfd ready{listener.value().get(), POLLIN, 0};
  ASSERT_EQ(::poll(&ready, 1, 20'000), 1);
  os::Fd accepted(::accept4(listener.value().get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted.valid());
  const auto local = os::SocketAddress::OfSocket(client).value();

  ASSERT_EQ(::write(client.get(), "half ", 5), 5);
  char chunk[64];
  ASSERT_EQ(::read(accepted.get(), chunk, 5), 5);  // these bytes are in our buffer ...
  ASSERT_EQ(::write(client.get(), "and ", 4), 4);  // ... these in the kernel's

  auto control = os::SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(control);
  os::SpawnOptions options;
  options.program = tests::Self();
  options.arguments = {"helper", "--adopt"};
  options.environment = os::Environment();
  options.descriptors = {{control.value().second.get(), 3}};
  auto successor = os::Spawn(options);
  ASSERT_TRUE(successor);
  std::vector<PassedConnection> list(1);
  list[0].fd = std::move(accepted);
  list[0].unread = "half ";
  list[0].requests = 7;
  {
    const Message message = PackConnections(list);
    ASSERT_TRUE(Send(control.value().first, message));
  }  // our copy of the connection closes here
  ASSERT_EQ(::write(client.get(), "rest\n", 5), 5);

  const std::string expected = "7:half and rest\n";
  std::string answer;
  while (answer.size() < expected.size()) {
    const ssize_t n = ::read(client.get(), chunk, sizeof chunk);
    ASSERT_GT(n, 0) << "the connection was cut after \"" << answer << "\"";
    answer.append(chunk, static_cast<size_t>(n));
  }
  EXPECT_EQ(answer, expected);
  EXPECT_EQ(os::SocketAddress::OfSocket(client).value(), local);
  ASSERT_TRUE(successor.value().WaitForEnd(20'000));
  EXPECT_EQ(successor.value().TryReap()->code, 0);
}

}  // namespace
}  // namespace handover
