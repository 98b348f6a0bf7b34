#include "handover/message.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <thread>

#include "os/socket.h"
#include "tests/os/process_support.h"

namespace handover {
namespace {

using os::ErrorKind;
using ::testing::HasSubstr;

TEST(Message, EncodesAsLinesWithTheVersionFirst) {
  Message message("accept");
  message.Add("ON", "1").Add("NAME", "a=b");
  EXPECT_EQ(Encode(message), "BATON=1\nVERB=accept\nON=1\nNAME=a=b\n");
  message.body =
      "raw\n\n\0"
      "bytes";
  EXPECT_EQ(Encode(message), "BATON=1\nVERB=accept\nON=1\nNAME=a=b\n\n" + message.body);
}

TEST(Message, ComesBackAsItWas) {
  Message message("adopt");
  message.Add("CONN", "1,2").Add("CONN", "3,4").Add("EMPTY", "").Add("A_9", "x=y");
  message.body = std::string("a\0b\n\nc", 6);
  auto back = Decode(Encode(message));
  ASSERT_TRUE(back) << back.error().Text();
  EXPECT_EQ(back.value().verb, "adopt");
  EXPECT_EQ(back.value().fields, message.fields);
  EXPECT_EQ(back.value().body, message.body);
}

TEST(Message, GetFindsTheFirstOfAKeyAndNumbersAreWhole) {
  Message message("x");
  message.Add("K", "1")
      .Add("K", "2")
      .Add("N", "-5")
      .Add("BAD", "5x")
      .Add("NONE", "")
      .Add("BIG", "99999999999999999999");
  EXPECT_EQ(message.Get("K"), "1");
  EXPECT_EQ(message.Get("Q"), std::nullopt);
  EXPECT_EQ(message.GetNumber("N"), -5);
  for (const char* key : {"BAD", "NONE", "BIG", "Q"}) EXPECT_EQ(message.GetNumber(key), std::nullopt) << key;
}

TEST(Message, NoValueCanForgeAFieldOrABody) {
  Message message("refused");
  message.Add("REASON", "bad\nADMIN=1\n\nbody");
  auto back = Decode(Encode(message));
  ASSERT_TRUE(back);
  EXPECT_EQ(back.value().Get("REASON"), "bad ADMIN=1  body");
  EXPECT_EQ(back.value().fields.size(), 1U);
  EXPECT_EQ(back.value().body, "");
}

TEST(Message, NoVerbCanForgeAField) {
  auto back = Decode(Encode(Message("ok\nADMIN=1")));
  ASSERT_TRUE(back);
  EXPECT_EQ(back.value().verb, "ok ADMIN=1");
  EXPECT_TRUE(back.value().fields.empty());
}

TEST(Message, ANulByteInAValueDoesNotMakeTheMessageUnreadable) {
  Message message("refused");
  message.Add("REASON", std::string("a\0b", 3));
  auto back = Decode(Encode(message));
  ASSERT_TRUE(back) << back.error().Text();
  EXPECT_EQ(back.value().Get("REASON"), "a b");
}

TEST(Message, AnotherVersionIsRefusedByName) {
  auto message = Decode("BATON=2\nVERB=hello\n");
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().kind, ErrorKind::kInvalid);
  EXPECT_EQ(message.error().Text(), "protocol version 2 is not spoken here (this is version 1)");
  EXPECT_LT(Decode("BATON=" + std::string(1000, '9') + "\n").error().Text().size(), 100U);
}

TEST(Message, MalformedBytesAreRefusedWithASentence) {
  const std::pair<std::string, std::string> kCases[] = {
      {"", "it is empty"},
      {"\n", "no VERB line"},
      {"BATON=1\n", "no VERB line"},
      {"BATON=1\n\nbody", "no VERB line"},
      {"BATON=1\nVERB=x", "the last line has no newline"},
      {"VERB=x\nBATON=1\n", "the first line is not BATON=<version>"},
      {"BATON=1\nON=1\nVERB=x\n", "the second line is not VERB=<verb>"},
      {"BATON=1\nVERB=\n", "the second line is not VERB=<verb>"},
      {"BATON=1\nVERB=x\nnothing\n", "line 3 is not KEY=value"},
      {"BATON=1\nVERB=x\n=v\n", "line 3 is not KEY=value"},
      {"BATON=1\nVERB=x\nlower=v\n", "line 3 is not KEY=value"},
      {"BATON=1\nVERB=x\nA B=v\n", "line 3 is not KEY=value"},
      {std::string("BATON=1\nVERB=x\nA=\0\n", 19), "a value holds a NUL byte"},
      {"GET / HTTP/1.1\r\n\r\n", "line 1 is not KEY=value"},
  };
  for (const auto& [packet, why] : kCases) {
    auto message = Decode(packet);
    ASSERT_FALSE(message) << packet;
    EXPECT_EQ(message.error().kind, ErrorKind::kInvalid) << packet;
    EXPECT_EQ(message.error().Text(), "malformed message: " + why) << packet;
  }
}

class ControlSocket : public ::testing::Test {
 protected:
  void SetUp() override {
    auto pair = os::SocketPair(SOCK_SEQPACKET);
    ASSERT_TRUE(pair);
    client_ = std::move(pair.value().first);
    server_ = std::move(pair.value().second);
  }
  void TearDown() override {
    client_.Reset();
    server_.Reset();
    EXPECT_EQ(tests::OpenDescriptors(), before_) << "a descriptor leaked";
  }
  std::map<int, std::string> before_ = tests::OpenDescriptors();
  os::Fd client_;
  os::Fd server_;
};

TEST_F(ControlSocket, DescriptorsRideAlongAndStayOurs) {
  Message message("listeners");
  message.descriptors.emplace_back(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(Send(client_, message));
  EXPECT_GE(::fcntl(message.descriptors[0].get(), F_GETFD), 0) << "lent, not given away";
  auto got = Receive(server_);
  ASSERT_TRUE(got) << got.error().Text();
  EXPECT_EQ(got.value().verb, "listeners");
  ASSERT_EQ(got.value().descriptors.size(), 1U);
  EXPECT_EQ(tests::OpenDescriptors().at(got.value().descriptors[0].get()), "/dev/null");
}

TEST_F(ControlSocket, MalformedMessagesLeakNoDescriptor) {
  ASSERT_TRUE(os::SendPacket(client_, "junk", {0, 1}));
  auto got = Receive(server_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::kInvalid);
}

TEST_F(ControlSocket, AnOversizedMessageIsRefusedAndTheNextOneIsRead) {
  const int big = 1 << 20;
  ::setsockopt(client_.get(), SOL_SOCKET, SO_SNDBUF, &big, sizeof big);
  Message message("status");
  message.body = std::string(129U << 10, 'x');
  ASSERT_TRUE(Send(client_, message));
  ASSERT_TRUE(Send(client_, Message("hello")));
  auto got = Receive(server_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::kInvalid);
  EXPECT_THAT(got.error().Text(), HasSubstr("oversized message"));
  EXPECT_EQ(Receive(server_).value().verb, "hello");
}

TEST_F(ControlSocket, AClosedPeerIsNotFound) {
  client_.Reset();
  auto got = Receive(server_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::kNotFound);
}

// A peer that dies before it has read our request makes the kernel say ECONNRESET, not end of file.
TEST_F(ControlSocket, APeerThatClosedWithoutReadingIsNotFoundToo) {
  ASSERT_TRUE(Send(client_, Message("hello")));
  server_.Reset();
  auto got = Receive(client_);
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().kind, ErrorKind::kNotFound) << got.error().Text();
}

TEST_F(ControlSocket, NothingThereYetIsBusy) {
  ::fcntl(server_.get(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(Receive(server_).error().kind, ErrorKind::kBusy);
}

TEST_F(ControlSocket, AskReturnsTheAnswer) {
  std::thread server([&] {
    auto request = Receive(server_);
    Message answer("ok");
    answer.Add("ECHO", request ? request.value().verb : "?");
    EXPECT_TRUE(Send(server_, answer));
  });
  auto answer = Ask(client_, Message("hello"));
  server.join();
  ASSERT_TRUE(answer) << answer.error().Text();
  EXPECT_EQ(answer.value().Get("ECHO"), "hello");
}

TEST_F(ControlSocket, AskPassesTheReasonOfARefusalOn) {
  ASSERT_TRUE(Send(server_, Refusal("unknown verb \"dance\"")));
  auto answer = Ask(client_, Message("dance"));
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kInvalid);
  EXPECT_EQ(answer.error().Text(), "\"dance\" was refused: unknown verb \"dance\"");
  ASSERT_TRUE(Send(server_, Message("refused")));
  EXPECT_THAT(Ask(client_, Message("x")).error().Text(), HasSubstr("no reason given"));
}

TEST_F(ControlSocket, AskGivesUpAtItsDeadline) {
  auto answer = Ask(client_, Message("hello"), 1);
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().kind, ErrorKind::kTimeout);
  EXPECT_EQ(answer.error().Text(), "no answer to \"hello\" within 1 ms");
}

}  // namespace
}  // namespace handover
