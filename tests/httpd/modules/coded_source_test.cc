#include "httpd/modules/coded_source.h"

#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <utility>

#include "tests/httpd/modules/coding_check.h"

namespace httpd::modules {
namespace {

using net::BodySource;
using State = BodySource::State;

/// Gives what it was told, step by step, and counts what it was asked for.
class ScriptedSource final : public BodySource {
 public:
  explicit ScriptedSource(std::deque<std::pair<State, std::string>> steps) : steps_(std::move(steps)) {}
  State Read(std::string& out, size_t) override {
    const auto [state, text] = steps_.front();
    if (steps_.size() > 1) steps_.pop_front();
    out += text;
    return state;
  }

 private:
  std::deque<std::pair<State, std::string>> steps_;
};

std::unique_ptr<BodySource> TextBody(std::string text) {
  net::Response response;
  response.body = std::move(text);
  return response.TakeBody();
}

struct Read {
  std::string text;
  State last = State::kMore;
  size_t calls = 0;
  size_t largest = 0;
};

Read ReadAll(BodySource& source) {
  Read out;
  while (out.last == State::kMore) {
    const size_t before = out.text.size();
    out.last = source.Read(out.text, 16384);
    out.largest = std::max(out.largest, out.text.size() - before);
    ++out.calls;
  }
  return out;
}

struct CodingCase {
  const char* name;
  std::function<std::unique_ptr<Coder>(uint64_t size)> make;
  std::string (*decode)(std::string_view);
};

const CodingCase kCodings[] = {
    {"gzip", [](uint64_t) { return MakeGzipCoder(-1, 15, 9); }, Gunzip},
    {"gzip 9, small window", [](uint64_t) { return MakeGzipCoder(9, 9, 1); }, Gunzip},
    {"brotli", [](uint64_t size) { return MakeBrotliCoder(5, 18, 0, size); }, UnBrotli},
    {"brotli 0, blocks", [](uint64_t) { return MakeBrotliCoder(0, 10, 16, 0); }, UnBrotli},
    {"zstd", [](uint64_t size) { return MakeZstdCoder(3, 0, size); }, UnZstd},
    {"zstd -5", [](uint64_t) { return MakeZstdCoder(-5, 10, 0); }, UnZstd},
};

TEST(CodedSource, WhatAClientDecodesIsWhatWentInForEverySizeAndCoding) {
  for (const CodingCase& coding : kCodings) {
    for (const size_t size : {0, 1, 100, 16384, 32768, 65536, 65537, 700000}) {
      const std::string text = SampleText(size);
      uint64_t in = 0;
      uint64_t out = 0;
      auto source = CodedSource(TextBody(text), coding.make(size), kUsualSlice, [&](uint64_t i, uint64_t o) {
        in = i;
        out = o;
      });
      const Read read = ReadAll(*source);
      EXPECT_EQ(read.last, State::kEnd) << coding.name;
      EXPECT_TRUE(coding.decode(read.text) == text) << coding.name << " " << size;
      EXPECT_EQ(in, size);
      EXPECT_EQ(out, read.text.size());
    }
  }
}

TEST(CodedSource, StreamsAreUsedAgainWithoutMixingUp) {
  for (int round = 0; round < 3; ++round) {
    for (const CodingCase& coding : kCodings) {
      auto first = CodedSource(TextBody(SampleText(200000)), coding.make(200000), kSlice, nullptr);
      std::string dropped;
      first->Read(dropped, 16384);  // given up half way
      auto second = CodedSource(TextBody("short " + std::to_string(round)), coding.make(0), kSlice, nullptr);
      first.reset();
      EXPECT_EQ(coding.decode(ReadAll(*second).text), "short " + std::to_string(round)) << coding.name;
    }
  }
}

TEST(CodedSource, OneCallTakesNoMoreThanASliceOfInput) {
  const std::string text = SampleText(1 << 20);
  auto source = CodedSource(TextBody(text), MakeGzipCoder(-1, 15, 9), kUsualSlice, nullptr);
  const Read read = ReadAll(*source);
  EXPECT_EQ(read.calls, text.size() / kUsualSlice);
  EXPECT_LE(read.largest, 4 * kUsualSlice);
}

TEST(CodedSource, APauseOfTheSourceSendsAllThatItHasGivenSoFar) {
  for (const CodingCase& coding : kCodings) {
    auto source = CodedSource(std::make_unique<ScriptedSource>(std::deque<std::pair<State, std::string>>{
                                  {State::kWait, "first event\n"}, {State::kWait, ""}, {State::kEnd, "last"}}),
                              coding.make(0), kUsualSlice, nullptr);
    std::string out;
    EXPECT_EQ(source->Read(out, 16384), State::kMore) << coding.name;
    EXPECT_FALSE(out.empty());
    const size_t flushed = out.size();
    EXPECT_EQ(source->Read(out, 16384), State::kWait) << coding.name;
    EXPECT_EQ(out.size(), flushed) << coding.name << ": a second flush has nothing to say";
    EXPECT_EQ(source->Read(out, 16384), State::kEnd);
    EXPECT_EQ(coding.decode(out), "first event\nlast") << coding.name;
  }
}

TEST(CodedSource, AFlushedGzipStreamCanBeReadBeforeItsEnd) {
  auto source = CodedSource(
      std::make_unique<ScriptedSource>(std::deque<std::pair<State, std::string>>{{State::kWait, "first event\n"}}),
      MakeGzipCoder(-1, 15, 9), kUsualSlice, nullptr);
  std::string coded;
  source->Read(coded, 16384);
  Inflater inflater({});
  std::string_view rest = coded;
  std::string out;
  EXPECT_EQ(inflater.Feed(rest, out, 1000), Inflater::State::kNeedsInput);
  EXPECT_EQ(out, "first event\n");
}

TEST(CodedSource, AFailedBodyIsNeverFinished) {
  for (const CodingCase& coding : kCodings) {
    auto source = CodedSource(std::make_unique<ScriptedSource>(std::deque<std::pair<State, std::string>>{
                                  {State::kMore, SampleText(40000)}, {State::kFailed, ""}}),
                              coding.make(0), kUsualSlice, nullptr);
    const Read read = ReadAll(*source);
    EXPECT_EQ(read.last, State::kFailed);
    EXPECT_EQ(coding.decode(read.text), "<broken>") << coding.name;
  }
  std::string out;
  EXPECT_EQ(CodedSource(TextBody("x"), nullptr, kSlice, nullptr)->Read(out, 100), State::kFailed);
}

TEST(InflatedSource, GivesBackWhatWasCompressedInBoundedPieces) {
  const std::string text = SampleText(500000);
  auto source = InflatedSource(TextBody(Gzip(text)), {}, nullptr);
  const Read read = ReadAll(*source);
  EXPECT_EQ(read.last, State::kEnd);
  EXPECT_TRUE(read.text == text);
  EXPECT_LE(read.largest, 16384U);
}

TEST(InflatedSource, SeveralMembersAreOneBody) {
  auto source = InflatedSource(TextBody(Gzip("one ") + Gzip("") + Gzip("two")), {}, nullptr);
  EXPECT_EQ(ReadAll(*source).text, "one two");
}

TEST(InflatedSource, FailsOnWhatIsNotGzipIsCutShortOrIsFollowedBySomethingElse) {
  const std::string good = Gzip(SampleText(50000));
  std::string damaged = good;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 0x55);
  std::string wrong_sum = good;
  wrong_sum[wrong_sum.size() - 6] = static_cast<char>(wrong_sum[wrong_sum.size() - 6] ^ 1);
  for (const std::string& body : {std::string("plain text"), good.substr(0, good.size() - 1), good.substr(0, 5),
                                  damaged, wrong_sum, good + "x"}) {
    int complaints = 0;
    auto source = InflatedSource(TextBody(body), {}, [&complaints](const std::string&) { ++complaints; });
    EXPECT_EQ(ReadAll(*source).last, State::kFailed);
    EXPECT_EQ(complaints, 1);
  }
}

TEST(InflatedSource, ABombEndsAtTheRatioLongBeforeItIsUnpacked) {
  const std::string bomb = Gzip(std::string(50 << 20, '\0'));  // 1030 to 1
  std::string why;
  auto source = InflatedSource(TextBody(bomb), {}, [&why](const std::string& text) { why = text; });
  const Read read = ReadAll(*source);
  EXPECT_EQ(read.last, State::kFailed);
  EXPECT_LT(read.text.size(), size_t{1} << 20);
  EXPECT_EQ(why, "AH02650: Inflated content ratio is larger than the configured limit");
}

TEST(InflatedSource, ABodyThatIsOnlyOftenOverTheRatioForAMomentPasses) {
  std::string text;
  for (int i = 0; i < 20; ++i) text += SampleText(30000) + std::string(9000, ' ');
  InflateLimits limits;
  limits.ratio = 5;
  auto source = InflatedSource(TextBody(Gzip(text)), limits, nullptr);
  EXPECT_TRUE(ReadAll(*source).text == text);
}

TEST(InflatedSource, TheAbsoluteLimitCountsWhatComesOut) {
  const std::string coded = Gzip(SampleText(20000));
  InflateLimits limits;
  limits.max_bytes = 20000;
  EXPECT_EQ(ReadAll(*InflatedSource(TextBody(coded), limits, nullptr)).last, State::kEnd);
  limits.max_bytes = 19999;
  EXPECT_EQ(ReadAll(*InflatedSource(TextBody(coded), limits, nullptr)).last, State::kFailed);
}

TEST(SetBody, MakesAShortBodyAtOnceAndLeavesALongOrUnknownOneToTheLoop) {
  net::Response response;
  SetBody(response, TextBody("short"), 5);
  EXPECT_EQ(response.body, "short");
  EXPECT_EQ(response.source, nullptr);
  net::Response other;
  SetBody(other, TextBody("unknown"), std::nullopt);
  EXPECT_NE(other.source, nullptr);
  net::Response third;
  SetBody(third, TextBody(SampleText(kSlice + 1)), kSlice + 1);
  EXPECT_NE(third.source, nullptr);
}

TEST(SetBody, GoesOnLaterWhereItHadToStop) {
  net::Response response;
  SetBody(response,
          std::make_unique<ScriptedSource>(
              std::deque<std::pair<State, std::string>>{{State::kMore, "a"}, {State::kWait, "b"}, {State::kEnd, "c"}}),
          3);
  ASSERT_NE(response.source, nullptr);
  EXPECT_TRUE(response.body.empty());
  EXPECT_EQ(ReadAll(*response.source).text, "abc");
}

TEST(SetBody, DoesNotHoldWhatAFilterBlowsUp) {
  net::Response response;
  InflateLimits limits;
  limits.ratio = 1 << 20;
  const std::string text(20 << 20, 'x');
  const std::string coded = Gzip(text);
  ASSERT_LT(coded.size(), kSlice);
  SetBody(response, InflatedSource(TextBody(coded), limits, nullptr), coded.size());
  ASSERT_NE(response.source, nullptr);
  EXPECT_TRUE(ReadAll(*response.source).text == text);
}

}  // namespace
}  // namespace httpd::modules
