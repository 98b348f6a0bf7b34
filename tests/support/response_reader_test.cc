#include "tests/support/response_reader.h"

#include <gtest/gtest.h>

namespace support {
namespace {

struct Outcome {
  bool done, bad;
  size_t used;
  std::string body;
  ResponseReader reader;
};

Outcome FeedInPieces(std::string_view bytes, size_t piece, bool to_head = false) {
  Outcome o{};
  o.reader.Start(to_head);
  while (o.used < bytes.size() && !o.reader.done() && !o.reader.bad()) {
    const auto part = bytes.substr(o.used, piece);
    o.used += o.reader.Feed(part, [&o](std::string_view body) { o.body += body; });
  }
  o.done = o.reader.done();
  o.bad = o.reader.bad();
  return o;
}

TEST(ResponseReader, SameAnswerWhateverThePiecesItComesIn) {
  const std::string first =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5, max=3\r\n\r\n"
      "4;x=y\r\nabcd\r\n1\r\ne\r\n0\r\nTrailer: t\r\n\r\n";
  const std::string two = first + "HTTP/1.1 404";
  for (size_t piece = 1; piece <= two.size(); ++piece) {
    const auto o = FeedInPieces(two, piece);
    ASSERT_TRUE(o.done) << piece << o.reader.reason();
    EXPECT_EQ(o.used, first.size()) << piece;
    EXPECT_EQ(o.body, "abcde");
    EXPECT_EQ(o.reader.keep_alive_seconds(), 5);
    EXPECT_FALSE(o.reader.closes());
  }
}

TEST(ResponseReader, HeadAnd304HaveNoBodyWhateverTheirLengthSays) {
  EXPECT_TRUE(FeedInPieces("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", 7, true).done);
  EXPECT_TRUE(FeedInPieces("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", 7).done);
}

TEST(ResponseReader, InterimResponsesAreReadOver) {
  const auto o = FeedInPieces(
      "HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"
      "Content-Length: 1\r\n\r\nx",
      3);
  EXPECT_TRUE(o.done);
  EXPECT_TRUE(o.reader.continued());
  EXPECT_EQ(o.reader.status(), 200);
  EXPECT_EQ(o.body, "x");
}

TEST(ResponseReader, AnnouncesACloseForConnectionCloseHttp10AndABodyWithoutLength) {
  EXPECT_TRUE(FeedInPieces("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", 9).reader.closes());
  EXPECT_TRUE(FeedInPieces("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 9).reader.closes());
  EXPECT_FALSE(
      FeedInPieces("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", 9).reader.closes());
  auto until_close = FeedInPieces("HTTP/1.1 200 OK\r\n\r\nabc", 9);
  EXPECT_FALSE(until_close.done);
  EXPECT_TRUE(until_close.reader.closes());
  EXPECT_TRUE(until_close.reader.End());
}

TEST(ResponseReader, EndWithinALengthOrChunksIsNotComplete) {
  EXPECT_FALSE(FeedInPieces("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na", 9).reader.End());
  EXPECT_FALSE(FeedInPieces("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", 9).reader.End());
}

class Refused : public testing::TestWithParam<const char*> {};
TEST_P(Refused, IsBadWithAReason) {
  const auto o = FeedInPieces(GetParam(), 1000);
  EXPECT_TRUE(o.bad);
  EXPECT_FALSE(o.reader.reason().empty());
}
INSTANTIATE_TEST_SUITE_P(
    ResponseReader, Refused,
    testing::Values("SSH-2.0-OpenSSH", "HTTP/2 200\r\n\r\n", "HTTP/1.1 20 OK\r\n\r\n", "HTTP/1.1 2x0 OK\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nA b: c\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", "HTTP/1.1 200 OK\nA: b\r\n\r\n",
                    "HTTP/1.1 101 Switching\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\na\r\n"));

}  // namespace
}  // namespace support
