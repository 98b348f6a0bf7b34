#include "httpd/process/listeners.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

namespace httpd::process {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

config::ListenAddress Want(const std::string& host, uint16_t port) {
  config::ListenAddress want;
  want.host = host;
  want.port = port;
  want.where = {"/etc/httpd.conf", 7};
  return want;
}

std::shared_ptr<OpenListener> Have(const std::string& host) {
  os::Fd fd = os::ListenTcp(os::SocketAddress::FromIp(host, 0).value(), 16).value();
  const os::SocketAddress address = os::SocketAddress::OfSocket(fd).value();
  return std::make_shared<OpenListener>(OpenListener{address, std::move(fd)});
}

TEST(OpenListeners, WhatIsOpenAlreadyIsTaken) {
  const auto have = Have("127.0.0.1");
  const auto out = OpenListeners({Want("127.0.0.1", have->address.port())}, {have}, {16}, true);
  ASSERT_TRUE(out) << out.error().Text();
  EXPECT_EQ(out.value()[0], have);
}

TEST(OpenListeners, AnInheritedSetIsNeverCompletedByBinding) {
  const auto have = Have("127.0.0.1");
  const auto out = OpenListeners({Want("127.0.0.2", have->address.port())}, {have}, {16}, true);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().kind, os::ErrorKind::kInvalid);
  EXPECT_THAT(out.error().what, HasSubstr("Listen 127.0.0.2:"));
  EXPECT_THAT(out.error().what, HasSubstr("/etc/httpd.conf:7"));
}

TEST(OpenListeners, TheSamePortOfAnotherAddressIsAnotherListener) {
  const auto have = Have("127.0.0.1");
  const auto out = OpenListeners({Want("127.0.0.2", have->address.port())}, {have}, {16}, false);
  ASSERT_TRUE(out) << out.error().Text();
  EXPECT_NE(out.value()[0], have);
}

TEST(OpenListeners, AnAddressInUseIsApachesSentence) {
  const auto other = Have("127.0.0.1");
  const auto out = OpenListeners({Want("127.0.0.1", other->address.port())}, {}, {16}, false);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().kind, os::ErrorKind::kBusy);
  EXPECT_THAT(out.error().what, StartsWith("(98)Address already in use: AH00072: make_sock: could not bind to address "
                                           "127.0.0.1:" +
                                           std::to_string(other->address.port())));
}

int OptionOf(const os::Fd& fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_EQ(::getsockopt(fd.get(), level, name, &value, &size), 0);
  return value;
}

TEST(OpenListeners, SocketOptionsAreAppliedAgainToWhatIsOpenAndTakenBack) {
  const auto have = Have("127.0.0.1");
  const int own = OptionOf(have->fd, SOL_SOCKET, SO_SNDBUF);
  const std::vector<config::ListenAddress> wanted = {Want("127.0.0.1", have->address.port())};
  SocketOptions options;
  options.send_buffer = 50000;
  options.receive_buffer = 60000;
  options.defer_accept_s = 3;
  ASSERT_TRUE(OpenListeners(wanted, {have}, options, true));
  EXPECT_EQ(OptionOf(have->fd, SOL_SOCKET, SO_SNDBUF), 100000);  // the kernel doubles it
  EXPECT_EQ(OptionOf(have->fd, SOL_SOCKET, SO_RCVBUF), 120000);
  EXPECT_GT(OptionOf(have->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
  ASSERT_TRUE(OpenListeners(wanted, {have}, {}, true));
  EXPECT_EQ(OptionOf(have->fd, SOL_SOCKET, SO_SNDBUF), own);
  EXPECT_EQ(OptionOf(have->fd, SOL_SOCKET, SO_BUF_LOCK), 0) << "the kernel does not size them again";
  EXPECT_EQ(OptionOf(have->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT), 0);
}

TEST(OpenListeners, WithAnAcceptFilterAConnectionIsThereWhenItsFirstBytesAre) {
  for (const bool is_deferred : {true, false}) {
    SocketOptions options;
    options.accept_filters["http"] = is_deferred;
    options.defer_accept_s = is_deferred ? 0 : 30;
    const auto open = OpenListeners({Want("127.0.0.1", 0)}, {}, options, false);
    ASSERT_TRUE(open);
    const os::Fd& listener = open.value()[0]->fd;
    const auto address = os::SocketAddress::OfSocket(listener);
    ASSERT_TRUE(address);
    const os::Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(client.get(), address.value().raw(), address.value().length()), 0);
    pollfd waiting{listener.get(), POLLIN, 0};
    EXPECT_EQ(::poll(&waiting, 1, 0), is_deferred ? 0 : 1);  // over loopback the client's connect(2) includes it
    ASSERT_EQ(::send(client.get(), "G", 1, 0), 1);
    EXPECT_EQ(::poll(&waiting, 1, 10000), 1);
  }
}

TEST(OpenListeners, NoListenerIsAnError) {
  EXPECT_FALSE(OpenListeners({}, {}, {16}, false));
}

}  // namespace
}  // namespace httpd::process
