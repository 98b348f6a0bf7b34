#include "handover/readiness.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "os/process.h"
#include "os/socket.h"
#include "tests/os/process_support.h"

namespace handover {
namespace {

class ReadinessTest : public ::testing::Test {
 protected:
  void TearDown() override {
    ::unsetenv("NOTIFY_SOCKET");
    EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked";
  }
  tests::TempDir dir_;
  std::map<int, std::string> before_ = tests::OpenDescriptors();
};

TEST_F(ReadinessTest, ANewcomerIsHeardWithItsOwnPid) {
  auto socket = NotifySocket::Open(dir_ / "notify");
  ASSERT_TRUE(socket) << socket.error().Text();
  struct stat st {};
  ASSERT_EQ(::stat((dir_ / "notify").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777U, 0600U);
  EXPECT_EQ(socket.value().Receive().error().kind, os::ErrorKind::kBusy);
  os::SpawnOptions options;
  options.program = tests::Self();
  options.arguments = {"helper", "--notify", "READY=1\nMAINPID=12\nSTATUS=serving a=b\nX="};
  options.environment = {"NOTIFY_SOCKET=" + (dir_ / "notify").string()};
  auto process = os::Spawn(options);
  ASSERT_TRUE(process);
  ASSERT_TRUE(process.value().WaitForEnd(20'000));
  EXPECT_EQ(process.value().TryReap()->code, 0);
  auto notice = socket.value().Receive();
  ASSERT_TRUE(notice) << notice.error().Text();
  EXPECT_EQ(notice.value().sender, process.value().pid());
  EXPECT_TRUE(notice.value().Has("READY=1"));
  EXPECT_FALSE(notice.value().Has("READY"));
  EXPECT_EQ(notice.value().Value("MAINPID"), "12");
  EXPECT_EQ(notice.value().Value("STATUS"), "serving a=b");
  EXPECT_EQ(notice.value().Value("X"), "");
  EXPECT_EQ(notice.value().Value("MAIN"), std::nullopt);
}

TEST_F(ReadinessTest, AStrangerThatClaimsAnotherMainPidIsStillSeenAsItself) {
  auto socket = NotifySocket::Open(dir_ / "notify");
  ASSERT_TRUE(socket);
  ::setenv("NOTIFY_SOCKET", (dir_ / "notify").c_str(), 1);
  ASSERT_TRUE(Notify("READY=1\nMAINPID=1"));
  auto notice = socket.value().Receive();
  ASSERT_TRUE(notice);
  EXPECT_EQ(notice.value().sender, ::getpid());
}

TEST_F(ReadinessTest, DescriptorsAndOversizedTextsOfAStrangerAreDropped) {
  auto socket = NotifySocket::Open(dir_ / "notify");
  ASSERT_TRUE(socket);
  auto stranger = os::ConnectUnix(dir_ / "notify", SOCK_DGRAM);
  ASSERT_TRUE(stranger);
  ASSERT_TRUE(os::SendPacket(stranger.value(), "READY=1", {0, 1, 2}));
  ASSERT_TRUE(os::SendPacket(stranger.value(), "READY=1\n" + std::string(9000, 'x')));
  EXPECT_TRUE(socket.value().Receive().value().Has("READY=1"));
  EXPECT_FALSE(socket.value().Receive().value().Has("READY=1")) << "a cut text says nothing";
}

TEST_F(ReadinessTest, WithoutTheVariableNobodyAskedAndAWrongOneIsAnError) {
  ::unsetenv("NOTIFY_SOCKET");
  EXPECT_TRUE(Notify("READY=1"));
  ::setenv("NOTIFY_SOCKET", "", 1);
  EXPECT_TRUE(Notify("READY=1"));
  ::setenv("NOTIFY_SOCKET", (dir_ / "none").c_str(), 1);
  EXPECT_EQ(Notify("READY=1").error().kind, os::ErrorKind::kNotFound);
  ::setenv("NOTIFY_SOCKET", ("@" + std::string(200, 'x')).c_str(), 1);
  EXPECT_EQ(Notify("READY=1").error().kind, os::ErrorKind::kInvalid);
}

TEST_F(ReadinessTest, AbstractSocketsAreReached) {
  const std::string name = "baton-test-" + std::to_string(::getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  name.copy(address.sun_path + 1, sizeof address.sun_path - 1);
  const os::Fd receiver(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  ASSERT_EQ(::bind(receiver.get(), reinterpret_cast<sockaddr*>(&address),
                   static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size())),
            0);
  ::setenv("NOTIFY_SOCKET", ("@" + name).c_str(), 1);
  auto sent = Notify("READY=1");
  ASSERT_TRUE(sent) << sent.error().Text();
  EXPECT_EQ(os::ReceivePacket(receiver).value().data, "READY=1");
}

TEST_F(ReadinessTest, TheFileGoesWithItsOwnerAndOnlyOnce) {
  const auto one = dir_ / "one";
  const auto two = dir_ / "two";
  {
    auto first = NotifySocket::Open(one);
    auto second = NotifySocket::Open(two);
    ASSERT_TRUE(first && second);
    EXPECT_EQ(NotifySocket::Open(one).error().kind, os::ErrorKind::kBusy);
    NotifySocket moved = std::move(first).value();
    EXPECT_TRUE(std::filesystem::exists(one));
    moved = std::move(second).value();
    EXPECT_FALSE(std::filesystem::exists(one)) << "its object is gone";
    EXPECT_TRUE(std::filesystem::exists(two));
    EXPECT_EQ(moved.path(), two);
  }
  EXPECT_FALSE(std::filesystem::exists(two));
}

}  // namespace
}  // namespace handover
