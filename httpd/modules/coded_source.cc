#include "httpd/modules/coded_source.h"

#include <string_view>
#include <utility>

namespace httpd::modules {

namespace {

using net::BodySource;

constexpr size_t kMadeAtOnce = 4 * kSlice;

class Coded final : public BodySource {
 public:
  Coded(std::unique_ptr<BodySource> inner, std::unique_ptr<Coder> coder, size_t slice, AtEnd at_end)
      : inner_(std::move(inner)), coder_(std::move(coder)), slice_(slice), at_end_(std::move(at_end)) {}

  State Read(std::string& out, size_t) override {
    if (is_done_) return State::kEnd;
    if (!coder_) return State::kFailed;
    input_.clear();
    const State state = inner_->Read(input_, slice_);
    if (state == State::kFailed) return State::kFailed;
    const size_t before = out.size();
    has_unflushed_ = has_unflushed_ || !input_.empty();
    Coder::Flush flush = Coder::Flush::kNone;
    if (state == State::kEnd) flush = Coder::Flush::kFinish;
    if (state == State::kWait && has_unflushed_) flush = Coder::Flush::kSync;
    if (flush != Coder::Flush::kNone) has_unflushed_ = false;
    if (!input_.empty() || flush != Coder::Flush::kNone) {
      if (!coder_->Feed(input_, flush, out)) return State::kFailed;
    }
    in_ += input_.size();
    out_ += out.size() - before;
    if (state != State::kEnd) return state == State::kWait && out.size() == before ? State::kWait : State::kMore;
    is_done_ = true;
    if (at_end_) at_end_(in_, out_);
    coder_.reset();  // its memory is free for the next answer while this one is still being sent
    return State::kEnd;
  }

 private:
  std::unique_ptr<BodySource> inner_;
  std::unique_ptr<Coder> coder_;
  size_t slice_;
  AtEnd at_end_;
  std::string input_;
  uint64_t in_ = 0;
  uint64_t out_ = 0;
  bool has_unflushed_ = false;
  bool is_done_ = false;
};

class Inflated final : public BodySource {
 public:
  Inflated(std::unique_ptr<BodySource> inner, const InflateLimits& limits,
           std::function<void(const std::string&)> complain)
      : inner_(std::move(inner)), inflater_(limits), complain_(std::move(complain)) {}

  State Read(std::string& out, size_t most) override {
    if (rest_.empty() && !has_ended_) {
      input_.clear();
      const State state = inner_->Read(input_, kInput);
      if (state == State::kFailed) return State::kFailed;
      if (state == State::kWait && input_.empty()) return State::kWait;
      has_ended_ = state == State::kEnd;
      rest_ = input_;
    }
    switch (inflater_.Feed(rest_, out, most)) {
      case Inflater::State::kFull:
        return State::kMore;
      case Inflater::State::kNeedsInput:
        if (!has_ended_) return State::kMore;
        return inflater_.may_end() ? State::kEnd : Fail("AH02481: Encountered premature end-of-stream while inflating");
      case Inflater::State::kTooLarge:
        return Fail("AH02648: Inflated content length is larger than the configured limit");
      case Inflater::State::kRatio:
        return Fail("AH02650: Inflated content ratio is larger than the configured limit");
      case Inflater::State::kBroken:
        break;
    }
    return Fail("AH01409: Zlib error inflating data");
  }

 private:
  static constexpr size_t kInput = 16U << 10;

  State Fail(const char* why) {
    if (complain_) complain_(why);
    return State::kFailed;
  }

  std::unique_ptr<BodySource> inner_;
  Inflater inflater_;
  std::function<void(const std::string&)> complain_;
  std::string input_;
  std::string_view rest_;
  bool has_ended_ = false;
};

/// What was made already, then the source that goes on.
class Continued final : public BodySource {
 public:
  Continued(std::string begin, std::unique_ptr<BodySource> rest) : begin_(std::move(begin)), rest_(std::move(rest)) {}
  State Read(std::string& out, size_t most) override {
    if (begin_.empty()) return rest_->Read(out, most);
    out += begin_;
    begin_ = {};
    return State::kMore;
  }

 private:
  std::string begin_;
  std::unique_ptr<BodySource> rest_;
};

}  // namespace

std::unique_ptr<BodySource> CodedSource(std::unique_ptr<BodySource> inner, std::unique_ptr<Coder> coder, size_t slice,
                                        AtEnd at_end) {
  return std::make_unique<Coded>(std::move(inner), std::move(coder), slice, std::move(at_end));
}

std::unique_ptr<BodySource> InflatedSource(std::unique_ptr<BodySource> inner, const InflateLimits& limits,
                                           std::function<void(const std::string&)> complain) {
  return std::make_unique<Inflated>(std::move(inner), limits, std::move(complain));
}

void SetBody(net::Response& response, std::unique_ptr<BodySource> source, std::optional<uint64_t> size) {
  if (!size || *size > kSlice) {
    response.source = std::move(source);
    return;
  }
  std::string body;
  for (;;) {
    const BodySource::State state = source->Read(body, kSlice);
    if (state == BodySource::State::kEnd) break;
    if (state == BodySource::State::kMore && body.size() <= kMadeAtOnce) continue;
    response.source = std::make_unique<Continued>(std::move(body), std::move(source));
    return;
  }
  response.body = std::move(body);
}

}  // namespace httpd::modules
