#include "os/socket.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/file.h"
#include "tests/os/process_support.h"

namespace os {
namespace {

class SocketTest : public ::testing::Test {
 protected:
  tests::TempDir dir_;
  std::map<int, std::string> before_ = tests::OpenDescriptors();
  void TearDown() override { EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked"; }
};

TEST(SocketAddress, TextFormsComeBackAsTheyWere) {
  for (const char* text :
       {"127.0.0.1:80", "[::1]:65535", "0.0.0.0:0", "[2001:db8::1]:443", "unix:/run/x.sock", "unix:"}) {
    auto address = SocketAddress::Parse(text);
    ASSERT_TRUE(address) << text << ": " << address.error().Text();
    EXPECT_EQ(address.value().Text(), text);
  }
}

TEST(SocketAddress, AnEmptyHostOrAStarIsTheIpv4Wildcard) {
  for (const char* host : {"", "*"}) {
    auto address = SocketAddress::FromIp(host, 8080);
    ASSERT_TRUE(address);
    EXPECT_EQ(address.value().Text(), "0.0.0.0:8080");
    EXPECT_TRUE(address.value().IsWildcard());
  }
  EXPECT_TRUE(SocketAddress::Parse("[::]:1").value().IsWildcard());
  EXPECT_FALSE(SocketAddress::Parse("127.0.0.1:1").value().IsWildcard());
  EXPECT_FALSE(SocketAddress::Parse("unix:/0.0.0.0").value().IsWildcard());
}

TEST(SocketAddress, HostPortAndFamilyAreAvailable) {
  const auto address = SocketAddress::FromIp("[::1]", 443);
  ASSERT_TRUE(address);
  EXPECT_EQ(address.value().Host(), "::1");
  EXPECT_EQ(address.value().port(), 443);
  EXPECT_EQ(address.value().family(), AF_INET6);
  EXPECT_EQ(SocketAddress::Parse("unix:/x").value().port(), 0);
  EXPECT_EQ(SocketAddress().Text(), "(no address)");
}

TEST(SocketAddress, SamePortOnAnotherAddressIsAnotherAddress) {
  EXPECT_EQ(SocketAddress::Parse("127.0.0.1:80").value(), SocketAddress::FromIp("127.0.0.1", 80).value());
  EXPECT_FALSE(SocketAddress::Parse("127.0.0.1:80").value() == SocketAddress::Parse("0.0.0.0:80").value());
  EXPECT_FALSE(SocketAddress::Parse("[::]:80").value() == SocketAddress::Parse("0.0.0.0:80").value());
}

TEST(SocketAddress, WhatIsNoAddressIsInvalidWithOneLine) {
  for (const std::string text : {"", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8x",
                                 "localhost:80", "[::1]", "[::1:80", "::1:80", "2001:db8::1:80", "1.2.3:80"}) {
    auto address = SocketAddress::Parse(text);
    ASSERT_FALSE(address) << text << " was taken for " << address.value().Text();
    EXPECT_EQ(address.error().kind, ErrorKind::kInvalid) << text;
    EXPECT_EQ(address.error().Text().find('\n'), std::string::npos);
  }
  EXPECT_TRUE(SocketAddress::Parse("unix:/" + std::string(106, 'x')));
  EXPECT_FALSE(SocketAddress::Parse("unix:/" + std::string(107, 'x')));
}

TEST_F(SocketTest, ListenTcpOnPortZeroTellsThePortItGot) {
  for (const char* host : {"127.0.0.1", "::1"}) {
    auto fd = ListenTcp(SocketAddress::FromIp(host, 0).value(), 10);
    if (!fd && std::string(host) == "::1") continue;  // a machine without IPv6
    ASSERT_TRUE(fd) << fd.error().Text();
    EXPECT_NE(SocketAddress::OfSocket(fd.value()).value().port(), 0);
    EXPECT_EQ(::fcntl(fd.value().get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    EXPECT_EQ(::fcntl(fd.value().get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  }
}

TEST_F(SocketTest, ListenTcpOnATakenAddressIsBusyAndNamesIt) {
  auto first = ListenTcp(SocketAddress::FromIp("127.0.0.1", 0).value(), 10);
  ASSERT_TRUE(first);
  const auto address = SocketAddress::OfSocket(first.value()).value();
  auto second = ListenTcp(address, 10);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
  EXPECT_EQ(second.error().what, "listen on " + address.Text());
}

TEST_F(SocketTest, ConnectedSocketsNameBothEnds) {
  auto listener = ListenTcp(SocketAddress::FromIp("127.0.0.1", 0).value(), 10);
  ASSERT_TRUE(listener);
  const auto address = SocketAddress::OfSocket(listener.value()).value();
  const Fd client(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), address.raw(), address.length()), 0);
  EXPECT_EQ(SocketAddress::OfPeer(client).value(), address);
  EXPECT_FALSE(SocketAddress::OfPeer(listener.value()));
}

TEST_F(SocketTest, ListenUnixSetsTheModeWhateverTheUmaskAndRestoresTheUmask) {
  for (const mode_t mode : {0600U, 0666U, 0660U}) {
    for (const mode_t mask : {0077U, 0000U}) {
      const auto path = dir_ / "s";
      const mode_t old = ::umask(mask);
      auto fd = ListenUnix(path, SOCK_STREAM, mode);
      const mode_t after = ::umask(old);
      ASSERT_TRUE(fd) << fd.error().Text();
      EXPECT_EQ(after, mask);
      struct stat st {};
      ASSERT_EQ(::stat(path.c_str(), &st), 0);
      EXPECT_EQ(st.st_mode & 0777U, mode);
      ASSERT_TRUE(RemoveFile(path));
    }
  }
}

TEST_F(SocketTest, UnixPathsLongerThanASocketAddressWork) {
  for (const size_t length : {106U, 107U, 108U, 109U, 300U}) {
    std::filesystem::path directory = dir_.path();
    while (directory.string().size() + 60 < length) directory /= std::string(40, 'd');
    ASSERT_TRUE(MakeDirectories(directory));
    const auto path = directory / std::string(length - directory.string().size() - 1, 's');
    ASSERT_EQ(path.string().size(), length);
    for (const int type : {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM}) {
      auto listener = ListenUnix(path, type, 0600);
      ASSERT_TRUE(listener) << listener.error().Text();
      auto client = ConnectUnix(path, type);
      ASSERT_TRUE(client) << client.error().Text();
      if (type == SOCK_DGRAM) {
        ASSERT_TRUE(SendPacket(client.value(), "hello"));
        EXPECT_EQ(ReceivePacket(listener.value()).value().data, "hello");
      } else {
        const Fd accepted(::accept4(listener.value().get(), nullptr, nullptr, SOCK_CLOEXEC));
        EXPECT_TRUE(accepted.valid());
      }
      EXPECT_EQ(::fcntl(client.value().get(), F_GETFL) & O_NONBLOCK, 0);
      ASSERT_TRUE(RemoveFile(path));
    }
  }
}

TEST_F(SocketTest, UnixErrorsTellATakenNameAMissingOneAndADeadListenerApart) {
  const auto path = dir_ / "s";
  auto missing = ConnectUnix(path, SOCK_SEQPACKET);
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::kNotFound);
  {
    auto listener = ListenUnix(path, SOCK_SEQPACKET, 0600);
    ASSERT_TRUE(listener);
    auto second = ListenUnix(path, SOCK_SEQPACKET, 0600);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().kind, ErrorKind::kBusy);
  }
  auto dead = ConnectUnix(path, SOCK_SEQPACKET);
  ASSERT_FALSE(dead);
  EXPECT_EQ(dead.error().sys, ECONNREFUSED);
  auto nowhere = ListenUnix(dir_ / "none/s", SOCK_STREAM, 0600);
  ASSERT_FALSE(nowhere);
  EXPECT_EQ(nowhere.error().kind, ErrorKind::kNotFound);
  auto too_long = ListenUnix(dir_ / std::string(200, 'n'), SOCK_STREAM, 0600);
  ASSERT_FALSE(too_long);
  EXPECT_EQ(too_long.error().kind, ErrorKind::kInvalid);
}

TEST_F(SocketTest, PeerCredentialsAreThoseOfWhoConnected) {
  const auto path = dir_ / "s";
  auto listener = ListenUnix(path, SOCK_SEQPACKET, 0666);
  ASSERT_TRUE(listener);
  const pid_t pid = ::fork();
  if (pid == 0) {
    auto client = ConnectUnix(path, SOCK_SEQPACKET);
    if (!client || !SendPacket(client.value(), "hello")) ::_exit(1);
    ::_exit(0);
  }
  ASSERT_EQ(::waitpid(pid, nullptr, 0), pid);
  const Fd accepted(::accept4(listener.value().get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSERT_TRUE(accepted.valid());
  auto peer = GetPeerCredentials(accepted);
  ASSERT_TRUE(peer);
  EXPECT_EQ(peer.value().pid, pid);
  EXPECT_EQ(peer.value().uid, ::getuid());
  EXPECT_EQ(peer.value().gid, ::getgid());
}

TEST_F(SocketTest, AServerPacketKeepsItsBoundariesAndItsEndIsAnEmptyPacket) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  auto& [left, right] = pair.value();
  ASSERT_TRUE(SendPacket(left, "one"));
  ASSERT_TRUE(SendPacket(left, std::string("t\0wo", 4)));
  EXPECT_EQ(ReceivePacket(right).value().data, "one");
  EXPECT_EQ(ReceivePacket(right).value().data, std::string("t\0wo", 4));
  left.Reset();
  auto end = ReceivePacket(right);
  ASSERT_TRUE(end);
  EXPECT_TRUE(end.value().data.empty() && end.value().descriptors.empty());
}

TEST_F(SocketTest, APacketCarries253DescriptorsAndRefusesOneMore) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  auto& [left, right] = pair.value();
  std::vector<int> lent(kMaxDescriptorsPerPacket, 0);
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  for (int& fd : lent) fd = null.get();
  ASSERT_TRUE(SendPacket(left, "many", lent));
  {
    auto packet = ReceivePacket(right);
    ASSERT_TRUE(packet);
    EXPECT_FALSE(packet.value().truncated);
    ASSERT_EQ(packet.value().descriptors.size(), kMaxDescriptorsPerPacket);
    for (const Fd& fd : packet.value().descriptors) {
      ASSERT_EQ(::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    }
  }
  lent.push_back(null.get());
  auto too_many = SendPacket(left, "more", lent);
  ASSERT_FALSE(too_many);
  EXPECT_EQ(too_many.error().kind, ErrorKind::kInvalid);
}

TEST_F(SocketTest, ReceivedDescriptorsComeInOrderEvenWithCredentialsBesides) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  auto& [left, right] = pair.value();
  const int on = 1;
  ASSERT_EQ(::setsockopt(right.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on), 0);
  const Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const Fd zero(::open("/dev/zero", O_RDONLY | O_CLOEXEC));
  std::vector<int> lent(kMaxDescriptorsPerPacket, null.get());
  lent[1] = zero.get();
  ASSERT_TRUE(SendPacket(left, "x", lent));
  auto packet = ReceivePacket(right);
  ASSERT_TRUE(packet);
  EXPECT_FALSE(packet.value().truncated);
  EXPECT_EQ(packet.value().sender, ::getpid());
  ASSERT_EQ(packet.value().descriptors.size(), kMaxDescriptorsPerPacket);
  const auto open = tests::OpenDescriptors();
  EXPECT_EQ(open.at(packet.value().descriptors[0].get()), "/dev/null");
  EXPECT_EQ(open.at(packet.value().descriptors[1].get()), "/dev/zero");
}

TEST_F(SocketTest, APacketLongerThanTheLimitIsMarkedTruncatedAndItsDescriptorsDoNotLeak) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  ASSERT_TRUE(SendPacket(pair.value().first, "12345", {0}));
  auto packet = ReceivePacket(pair.value().second, 4);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packet.value().truncated);
}

TEST_F(SocketTest, DescriptorsThatDoNotFitOurLimitMarkThePacketTruncated) {
  auto pair = SocketPair(SOCK_SEQPACKET);
  ASSERT_TRUE(pair);
  ASSERT_TRUE(SendPacket(pair.value().first, "x", std::vector<int>(20, 0)));
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const auto open = tests::OpenDescriptors();
  rlimit tight = old;
  tight.rlim_cur = 0;
  for (int room = 5; room > 0; ++tight.rlim_cur) room -= open.contains(static_cast<int>(tight.rlim_cur)) ? 0 : 1;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &tight), 0);
  auto packet = ReceivePacket(pair.value().second);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  ASSERT_TRUE(packet);
  EXPECT_TRUE(packet.value().truncated);
  EXPECT_EQ(packet.value().descriptors.size(), 5U);
}

TEST_F(SocketTest, AFullQueueIsBusyAndAGonePeerIsAnErrorWithoutASignal) {
  auto pair = SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK);
  ASSERT_TRUE(pair);
  auto& [left, right] = pair.value();
  EXPECT_EQ(ReceivePacket(right).error().kind, ErrorKind::kBusy);
  const std::string block(16384, 'x');
  Status sent = kDone;
  for (int i = 0; i < 10'000 && sent; ++i) sent = SendPacket(left, block);
  ASSERT_FALSE(sent);
  EXPECT_EQ(sent.error().kind, ErrorKind::kBusy);
  right.Reset();
  auto gone = SendPacket(left, "x");
  ASSERT_FALSE(gone);
  EXPECT_TRUE(gone.error().sys == EPIPE || gone.error().sys == ECONNRESET) << gone.error().Text();
}

}  // namespace
}  // namespace os
