#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "httpd/http/request.h"

namespace httpd::http {
namespace {

using State = BodyReader::Step::State;

struct Outcome {
  State state = State::kMore;
  std::string body;
  size_t consumed = 0;
  int status = 0;
  bool operator==(const Outcome&) const = default;
};

/// Feeds `input` in pieces of `piece` bytes until the body ends, is bad, or the input does.
Outcome Feed(BodyReader& reader, std::string_view input, size_t piece) {
  Outcome outcome;
  while (outcome.state == State::kMore && outcome.consumed < input.size()) {
    const std::string part(input.substr(outcome.consumed, piece));
    std::string_view rest = part;
    do {
      const auto step = reader.Feed(rest);
      outcome.state = step.state;
      outcome.status = step.status;
      outcome.body += step.data;
      outcome.consumed += step.consumed;
      rest.remove_prefix(step.consumed);
      if (outcome.state == State::kMore && step.consumed == 0) return outcome;  // would never end
    } while (outcome.state == State::kMore && !rest.empty());
  }
  return outcome;
}

Outcome FeedChunked(std::string_view input, size_t piece, uint64_t max_bytes = 0) {
  RequestHead head;
  head.chunked = true;
  BodyReader reader;
  reader.Start(head, max_bytes);
  return Feed(reader, input, piece);
}

struct Case {
  std::string why;
  std::string input;
  State state;
  std::string body;
};

const std::vector<Case>& Cases() {
  using enum State;
  using std::string;
  static const std::vector<Case> cases = {
      {"no data", "0\r\n\r\n", kDone, ""},
      {"one chunk", "5\r\nhello\r\n0\r\n\r\n", kDone, "hello"},
      {"two chunks", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", kDone, "hello world"},
      {"hex digits of both cases", "a\r\n0123456789\r\nB\r\n0123456789x\r\n0\r\n\r\n", kDone, "01234567890123456789x"},
      {"leading zeros", "0005\r\nhello\r\n000\r\n\r\n", kDone, "hello"},
      {"data that looks like framing", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", kDone, "\r\n0\r\n\r\n"},
      {"bytes after the body are left", "0\r\n\r\nGET / HTTP/1.1\r\n", kDone, ""},
      {"extension without a value", "5;a\r\nhello\r\n0\r\n\r\n", kDone, "hello"},
      {"extension with a token", "5;a=b\r\nhello\r\n0;c=d\r\n\r\n", kDone, "hello"},
      {"extension with a quoted string", "5;a=\"b;\\\"c\"\r\nhello\r\n0\r\n\r\n", kDone, "hello"},
      {"extensions with blanks around", "5; a = b ;c\t= \"d\" ; e\r\nhello\r\n0\r\n\r\n", kDone, "hello"},
      {"trailers", "0\r\nA: b\r\nC:\r\n\r\n", kDone, ""},
      {"not at its end yet", "5\r\nhel", kMore, "hel"},
      {"no empty line yet", "0\r\n", kMore, ""},

      {"no size", "\r\nhello", kBad, ""},
      {"blank before the size", " 5\r\nhello\r\n", kBad, ""},
      {"blank after the size", "5 \r\nhello\r\n", kBad, ""},
      {"tab after the size", "5\t\r\nhello\r\n", kBad, ""},
      {"blank before the extension", "5 ;a\r\nhello\r\n", kBad, ""},
      {"plus", "+5\r\nhello\r\n", kBad, ""},
      {"minus", "-5\r\nhello\r\n", kBad, ""},
      {"0x", "0x5\r\nhello\r\n", kBad, ""},
      {"letter that is no digit", "5g\r\nhello\r\n", kBad, ""},
      {"underscore", "1_0\r\n", kBad, ""},
      {"bare LF after the size", "5\nhello\r\n0\r\n\r\n", kBad, ""},
      {"bare CR after the size", "5\rhello\r\n", kBad, ""},
      {"bare LF after the data", "5\r\nhello\n0\r\n\r\n", kBad, "hello"},
      {"data longer than its size", "5\r\nhello!\r\n0\r\n\r\n", kBad, "hello"},
      {"seventeen digits", "00000000000000005\r\nhello\r\n", kBad, ""},
      {"size of 2^64 - 1", "ffffffffffffffff\r\n", kBad, ""},
      {"size of 2^63", "8000000000000000\r\n", kBad, ""},
      {"size of 2^64 + 5", "10000000000000005\r\nhello\r\n", kBad, ""},
      {"sizes that overflow together", "1\r\nx\r\n7fffffffffffffff\r\n", kBad, "x"},
      {"empty extension", "5;\r\nhello\r\n", kBad, ""},
      {"empty extension before another", "5;;a\r\nhello\r\n", kBad, ""},
      {"extension without a name", "5;=b\r\nhello\r\n", kBad, ""},
      {"extension without a value after =", "5;a=\r\nhello\r\n", kBad, ""},
      {"extension with an open quote", "5;a=\"b\r\nhello\r\n", kBad, ""},
      {"extension with bytes after its quote", "5;a=\"b\"c\r\nhello\r\n", kBad, ""},
      {"blank after an extension", "5;a \r\nhello\r\n", kBad, ""},
      {"bare LF in an extension", "5;a\nhello\r\n", kBad, ""},
      {"NUL in an extension", string("5;a=\"\0\"\r\n", 9), kBad, ""},
      {"bare LF as the empty line", "0\r\n\n", kBad, ""},
      {"bare LF after a trailer", "0\r\nA: b\n\r\n", kBad, ""},
      {"bare CR after a trailer", "0\r\nA: b\rC: d\r\n\r\n", kBad, ""},
      {"folded trailer", "0\r\nA: b\r\n c\r\n\r\n", kBad, ""},
      {"trailer without a colon", "0\r\nA\r\n\r\n", kBad, ""},
      {"trailer without a name", "0\r\n: b\r\n\r\n", kBad, ""},
      {"blank before a trailer's colon", "0\r\nA : b\r\n\r\n", kBad, ""},
      {"NUL in a trailer", string("0\r\nA: \0\r\n\r\n", 11), kBad, ""},
      {"bytes instead of the last LF", "0\r\n\rX", kBad, ""},
  };
  return cases;
}

TEST(BodyReader, ChunkedBodiesAreDecodedOrRefusedByTheLetter) {
  for (const Case& c : Cases()) {
    const Outcome outcome = FeedChunked(c.input, c.input.size());
    EXPECT_EQ(outcome.state, c.state) << c.why;
    EXPECT_EQ(outcome.body, c.body) << c.why;
    EXPECT_EQ(outcome.status, c.state == State::kBad ? 400 : 0) << c.why;
  }
}

TEST(BodyReader, PiecesOfAnySizeGiveTheSameAsAllAtOnce) {
  for (const Case& c : Cases()) {
    const Outcome whole = FeedChunked(c.input, c.input.size());
    for (size_t piece = 1; piece < c.input.size(); ++piece) {
      EXPECT_EQ(FeedChunked(c.input, piece), whole) << c.why << ", pieces of " << piece;
    }
  }
}

TEST(BodyReader, LeavesTheNextRequestAlone) {
  const std::string body = "3\r\nabc\r\n0\r\n\r\n";
  EXPECT_EQ(FeedChunked(body + "GET / HTTP/1.1\r\n", 1000).consumed, body.size());
}

TEST(BodyReader, ASmallChunkedBodyThatIsThereTakesOneStep) {
  RequestHead head;
  head.chunked = true;
  BodyReader reader;
  reader.Start(head, 0);
  const auto step = reader.Feed("3\r\nabc\r\n0\r\n\r\n");
  EXPECT_EQ(step.state, State::kDone);
  EXPECT_EQ(step.data, "abc");
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(reader.received(), 3u);
}

TEST(BodyReader, ChunksBeyondTheMaximumAre413BeforeTheirData) {
  EXPECT_EQ(FeedChunked("5\r\nhello\r\n0\r\n\r\n", 100, 5).state, State::kDone);
  const Outcome outcome = FeedChunked("5\r\nhello\r\n1\r\nx\r\n0\r\n\r\n", 100, 5);
  EXPECT_EQ(outcome.status, 413);
  EXPECT_EQ(outcome.body, "hello");
  EXPECT_EQ(FeedChunked("6\r\n", 100, 5).status, 413);
}

TEST(BodyReader, ExtensionsAndTrailersTogetherAreBounded) {
  std::string extensions;
  for (int i = 0; i < 3000; ++i) extensions += "1;abcdef\r\nx\r\n";
  EXPECT_EQ(FeedChunked(extensions, extensions.size()).status, 400);
  std::string trailers = "0\r\n";
  for (int i = 0; i < 3000; ++i) trailers += "abc: def\r\n";
  EXPECT_EQ(FeedChunked(trailers, trailers.size()).status, 400);
}

TEST(BodyReader, ContentLengthTakesThatManyBytesAndNoMore) {
  RequestHead head;
  head.content_length = 5;
  for (const size_t piece : {1u, 2u, 5u, 100u}) {
    BodyReader reader;
    reader.Start(head, 5);
    const Outcome outcome = Feed(reader,
                                 "hello"
                                 "GET /",
                                 piece);
    EXPECT_EQ(outcome.state, State::kDone);
    EXPECT_EQ(outcome.body, "hello");
    EXPECT_EQ(outcome.consumed, 5u);
  }
}

TEST(BodyReader, ContentLengthBeyondTheMaximumIs413AtOnce) {
  RequestHead head;
  head.content_length = 6;
  BodyReader reader;
  reader.Start(head, 5);
  const auto step = reader.Feed("");
  EXPECT_EQ(step.state, State::kBad);
  EXPECT_EQ(step.status, 413);
  EXPECT_EQ(step.consumed, 0u);
}

TEST(BodyReader, ARequestWithoutABodyIsDoneAtOnce) {
  RequestHead head;
  BodyReader reader;
  reader.Start(head, 0);
  EXPECT_TRUE(reader.done());
  EXPECT_EQ(reader.Feed("GET /").consumed, 0u);
  head.content_length = 0;
  reader.Start(head, 0);
  EXPECT_TRUE(reader.done());
}

TEST(BodyReader, ABadBodyStaysBad) {
  RequestHead head;
  head.chunked = true;
  BodyReader reader;
  reader.Start(head, 0);
  EXPECT_EQ(reader.Feed("x").state, State::kBad);
  EXPECT_EQ(reader.Feed("0\r\n\r\n").state, State::kBad);
}

}  // namespace
}  // namespace httpd::http
