#include "handover/listen_fds.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <sstream>

#include "os/file.h"
#include "tests/os/process_support.h"

namespace handover {
namespace {

using ::testing::ElementsAre;

class ListenFdsTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked"; }

  static Listener Tcp(const std::string& name) {
    auto fd = os::ListenTcp(os::SocketAddress::FromIp("127.0.0.1", 0).value(), 10);
    EXPECT_TRUE(fd);
    Listener out{os::SocketAddress::OfSocket(fd.value()).value(), name, std::move(fd).value()};
    return out;
  }
  /// What the newcomer says that it inherited.
  std::vector<std::string> Run(os::SpawnOptions& options) {
    options.program = tests::Self();
    options.arguments = {"helper", "--listeners", (dir_ / "report").string()};
    auto process = os::Spawn(options);
    EXPECT_TRUE(process) << process.error().Text();
    EXPECT_TRUE(process.value().WaitForEnd(20'000));
    EXPECT_TRUE(process.value().TryReap());
    std::vector<std::string> out;
    std::istringstream lines(os::ReadFile(dir_ / "report").value());
    for (std::string line; std::getline(lines, line);) out.push_back(line);
    return out;
  }

  tests::TempDir dir_;
  std::map<int, std::string> before_ = tests::OpenDescriptors();
};

TEST_F(ListenFdsTest, ListenersCrossAnExecWithNamesAndFullAddresses) {
  std::vector<Listener> listeners;
  listeners.push_back(Tcp("http"));
  listeners.push_back(Tcp(""));
  auto local = os::ListenUnix(dir_ / "s", SOCK_STREAM, 0600);
  ASSERT_TRUE(local);
  listeners.push_back({os::SocketAddress::OfSocket(local.value()).value(), "a:b", std::move(local).value()});
  os::SpawnOptions options;
  GiveListenFds(listeners, options);
  EXPECT_THAT(Run(options),
              ElementsAre("3 http " + listeners[0].address.Text(), "4 listener " + listeners[1].address.Text(),
                          "5 a-b unix:" + (dir_ / "s").string(), "left 0"));
}

// Our own environment may still hold the variables of who started us; the first of a name is what getenv(3) finds.
TEST_F(ListenFdsTest, WhatWeInheritedOurselvesDoesNotShadowWhatWeGive) {
  std::vector<Listener> listeners;
  listeners.push_back(Tcp("new"));
  os::SpawnOptions options;
  options.environment = {"LISTEN_FDS=7", "LISTEN_FDNAMES=old:older", "LISTEN_PID=1", "LISTEN_FDSX=stays"};
  GiveListenFds(listeners, options);
  EXPECT_THAT(options.environment, ElementsAre("LISTEN_FDSX=stays", "LISTEN_FDS=1", "LISTEN_FDNAMES=new"));
  EXPECT_THAT(Run(options), ElementsAre("3 new " + listeners[0].address.Text(), "left 0"));
}

TEST_F(ListenFdsTest, NothingAnnouncedOrAnnouncedToAnotherProcessIsAnEmptyList) {
  os::SpawnOptions options;
  EXPECT_THAT(Run(options), ElementsAre("left 0"));
  options.environment = {"LISTEN_FDS=1", "LISTEN_PID=1"};
  EXPECT_THAT(Run(options), ElementsAre("left 0"));
  options.environment = {"LISTEN_FDS=1"};
  EXPECT_THAT(Run(options), ElementsAre("left 0"));
}

TEST_F(ListenFdsTest, WhatIsNotAListeningStreamSocketIsRefusedByNumber) {
  const os::Fd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  auto packets = os::ListenUnix(dir_ / "packets", SOCK_SEQPACKET, 0600);
  ASSERT_TRUE(packets);
  const os::Fd unconnected(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  for (const int raw : {null.get(), packets.value().get(), unconnected.get()}) {
    os::SpawnOptions options;
    options.environment = {"LISTEN_FDS=1"};
    options.set_listen_pid = true;
    options.descriptors = {{raw, 3}};
    EXPECT_THAT(Run(options), ElementsAre("error inherited descriptor 3 is not a listening stream socket"));
  }
  os::SpawnOptions options;
  options.environment = {"LISTEN_FDS=2"};
  options.set_listen_pid = true;
  const Listener good = Tcp("x");
  options.descriptors = {{good.fd.get(), 3}};
  EXPECT_THAT(Run(options), ElementsAre("error inherited descriptor 4 is not open"));
}

TEST_F(ListenFdsTest, NumbersThatAreNoneAreRefused) {
  for (const std::string text : {"x", "", "-1", "99999999", "1x"}) {
    os::SpawnOptions options;
    options.environment = {"LISTEN_FDS=" + text};
    options.set_listen_pid = true;
    EXPECT_THAT(Run(options), ElementsAre("error LISTEN_FDS is not a count: " + text));
  }
  os::SpawnOptions options;
  options.environment = {"LISTEN_FDS=1", "LISTEN_PID=me"};
  EXPECT_THAT(Run(options), ElementsAre("error LISTEN_PID is not a number: me"));
}

}  // namespace
}  // namespace handover
