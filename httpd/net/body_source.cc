#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "httpd/net/exchange.h"

namespace httpd::net {

namespace {

class TextSource final : public BodySource {
 public:
  explicit TextSource(std::string text) : text_(std::move(text)) {}

  State Read(std::string& out, size_t most) override {
    const size_t n = std::min(most, text_.size() - done_);
    out.append(text_, done_, n);
    done_ += n;
    return done_ == text_.size() ? State::kEnd : State::kMore;
  }
  std::optional<uint64_t> Left() const override { return text_.size() - done_; }

 private:
  std::string text_;
  size_t done_ = 0;
};

/// Pieces of a file with text between them. A file that became shorter fails: only a close can say so.
class FileSource final : public BodySource {
 public:
  FileSource(os::Fd file, std::vector<Response::Part> parts) : file_(std::move(file)), parts_(std::move(parts)) {
    for (const Response::Part& part : parts_) left_ += part.text.size() + part.length;
  }

  State Read(std::string& out, size_t most) override {
    for (; at_ < parts_.size(); ++at_, text_done_ = 0, file_done_ = 0) {
      const Response::Part& part = parts_[at_];
      if (text_done_ < part.text.size()) {
        const size_t n = std::min(most, part.text.size() - text_done_);
        out.append(part.text, text_done_, n);
        text_done_ += n;
        left_ -= n;
        return left_ == 0 ? State::kEnd : State::kMore;
      }
      if (file_done_ == part.length) continue;
      const size_t want = static_cast<size_t>(std::min<uint64_t>(most, part.length - file_done_));
      const size_t before = out.size();
      out.resize(before + want);
      ssize_t n = 0;
      do {
        n = ::pread(file_.get(), out.data() + before, want, static_cast<off_t>(part.offset + file_done_));
      } while (n < 0 && errno == EINTR);
      out.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
      if (n <= 0) return State::kFailed;
      file_done_ += static_cast<uint64_t>(n);
      left_ -= static_cast<uint64_t>(n);
      return left_ == 0 ? State::kEnd : State::kMore;
    }
    return State::kEnd;
  }
  std::optional<uint64_t> Left() const override { return left_; }

 private:
  os::Fd file_;
  std::vector<Response::Part> parts_;
  size_t at_ = 0;
  size_t text_done_ = 0;
  uint64_t file_done_ = 0;
  uint64_t left_ = 0;
};

}  // namespace

std::unique_ptr<BodySource> Response::TakeBody() {
  if (source) return std::move(source);
  std::unique_ptr<BodySource> out;
  if (file.valid()) {
    out = std::make_unique<FileSource>(std::move(file), std::move(parts));
  } else {
    out = std::make_unique<TextSource>(std::move(body));
  }
  file.Reset();
  parts.clear();
  body.clear();
  return out;
}

}  // namespace httpd::net
