#include "tests/support/response_reader.h"

#include <algorithm>
#include <charconv>

namespace support {
namespace {

constexpr size_t kMaxHead = 64U << 10;
constexpr size_t kMaxLine = 4U << 10;

bool SameWord(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    const auto lower = [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; };
    return lower(x) == lower(y);
  });
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Calls `each` with every trimmed element of a comma-separated list.
template <class Each>
void ForEachElement(std::string_view list, Each each) {
  while (!list.empty()) {
    const size_t comma = list.find(',');
    each(Trim(list.substr(0, comma)));
    if (comma == std::string_view::npos) break;
    list.remove_prefix(comma + 1);
  }
}

bool IsTokenChar(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

/// All of `text` as a number. nullopt: empty, signs, other characters, overflow.
std::optional<uint64_t> Number(std::string_view text, int base) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

void ResponseReader::Start(bool to_head) {
  *this = ResponseReader();
  to_head_ = to_head;
}

void ResponseReader::Bad(std::string reason) {
  state_ = State::kBad;
  reason_ = std::move(reason);
}

/// Moves bytes up to and including "\r\n" into line_ and strips that. True: line_ is a whole line.
bool ResponseReader::TakeLine(std::string_view& data, size_t limit) {
  const size_t feed = data.find('\n');
  const size_t take = feed == std::string_view::npos ? data.size() : feed + 1;
  line_.append(data.substr(0, take));
  data.remove_prefix(take);
  if (line_.size() > limit) {
    Bad("a line is longer than " + std::to_string(limit) + " bytes");
    return false;
  }
  if (feed == std::string_view::npos) return false;
  if (line_.size() < 2 || line_[line_.size() - 2] != '\r') {
    Bad("a line ends without a carriage return");
    return false;
  }
  line_.resize(line_.size() - 2);
  return true;
}

size_t ResponseReader::Feed(std::string_view data, const OnBody& body) {
  const size_t size = data.size();
  while (!data.empty() && !done() && !bad()) {
    ++bytes_;
    switch (state_) {
      case State::kHead: {
        // The head is kept whole until its empty line, so that nothing is believed of half a head.
        const size_t before = line_.size();
        line_.append(data.substr(0, std::min(data.size(), kMaxHead + 4)));
        const size_t end = line_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
        for (size_t at = before; (at = line_.find('\n', at)) < end; ++at) {
          if (at == 0 || line_[at - 1] != '\r') Bad("a line ends without a carriage return");
        }
        if (bad()) {
          data = {};
          break;
        }
        if (end == std::string::npos) {
          data = {};
          if (line_.size() > kMaxHead) Bad("the head is longer than 64 KB");
          static constexpr std::string_view kBegin = "HTTP/1.";
          const size_t seen = std::min(kBegin.size(), line_.size());
          if (!bad() && line_.compare(0, seen, kBegin.substr(0, seen)) != 0) Bad("it does not begin with HTTP/1.");
          break;
        }
        data.remove_prefix(end + 4 - before);
        line_.resize(end + 2);
        ParseHead();
        line_.clear();
        break;
      }
      case State::kLength:
      case State::kChunkData: {
        const auto part = data.substr(0, std::min<uint64_t>(left_, data.size()));
        body(part);
        data.remove_prefix(part.size());
        left_ -= part.size();
        if (left_ == 0) state_ = state_ == State::kLength ? State::kDone : State::kChunkEnd;
        break;
      }
      case State::kUntilClose:
        body(data);
        data = {};
        break;
      case State::kChunkSize: {
        if (!TakeLine(data, kMaxLine)) break;
        const auto chunk = Number(Trim(std::string_view(line_).substr(0, line_.find(';'))), 16);
        if (!chunk) {
          Bad("chunk size \"" + line_ + "\" is not a number");
          break;
        }
        line_.clear();
        left_ = *chunk;
        state_ = left_ == 0 ? State::kTrailer : State::kChunkData;
        break;
      }
      case State::kChunkEnd:
        if (!TakeLine(data, kMaxLine)) break;
        if (!line_.empty())
          Bad("a chunk is longer than its size says");
        else
          state_ = State::kChunkSize;
        break;
      case State::kTrailer:
        if (!TakeLine(data, kMaxLine)) break;
        if (line_.empty()) state_ = State::kDone;
        line_.clear();
        break;
      case State::kDone:
      case State::kBad:
        break;
    }
  }
  return size - data.size();
}

void ResponseReader::ParseHead() {
  std::string_view head = line_;
  const auto take_line = [&head] {
    const size_t end = head.find("\r\n");
    const auto line = head.substr(0, end);
    head.remove_prefix(end + 2);
    return line;
  };
  const auto status_line = take_line();
  const bool shape = status_line.size() >= 12 && status_line.substr(0, 7) == "HTTP/1." &&
                     (status_line[7] == '0' || status_line[7] == '1') && status_line[8] == ' ' &&
                     (status_line.size() == 12 || status_line[12] == ' ');
  const auto status = shape ? Number(status_line.substr(9, 3), 10) : std::nullopt;
  if (!status || *status < 100 || *status > 599) {
    return Bad("status line \"" + std::string(status_line.substr(0, 60)) + "\"");
  }
  status_ = static_cast<int>(*status);
  http10_ = status_line[7] == '0';
  closes_ = says_keep_alive_ = chunked_ = false;
  length_.reset();
  keep_alive_seconds_.reset();
  while (!head.empty() && !bad()) ParseField(take_line());
  if (bad()) return;

  if (status_ < 200) {
    if (status_ == 101) return Bad("status 101 was not asked for");
    if (http10_) return Bad("an interim response in HTTP/1.0");
    if (chunked_ || length_) return Bad("an interim response with a body");
    continued_ = continued_ || status_ == 100;
    return;  // state_ stays kHead: the next head follows
  }
  if (http10_ && !says_keep_alive_) closes_ = true;
  if (chunked_ && length_) return Bad("both Transfer-Encoding and Content-Length");
  if (chunked_ && http10_) return Bad("Transfer-Encoding in HTTP/1.0");
  if (to_head_ || status_ == 204 || status_ == 304) {
    state_ = State::kDone;
  } else if (chunked_) {
    state_ = State::kChunkSize;
  } else if (length_) {
    left_ = *length_;
    state_ = left_ == 0 ? State::kDone : State::kLength;
  } else {
    closes_ = true;
    state_ = State::kUntilClose;
  }
}

void ResponseReader::ParseField(std::string_view line) {
  const size_t colon = line.find(':');
  const auto name = line.substr(0, colon);
  if (colon == std::string_view::npos || name.empty() || !std::all_of(name.begin(), name.end(), IsTokenChar)) {
    return Bad("header line \"" + std::string(line.substr(0, 60)) + "\"");
  }
  const auto value = Trim(line.substr(colon + 1));
  if (std::any_of(value.begin(), value.end(), [](unsigned char c) { return (c < 32 && c != '\t') || c == 127; })) {
    return Bad("a control character in " + std::string(name));
  }
  if (SameWord(name, "Content-Length")) {
    const auto length = Number(value, 10);
    if (!length) return Bad("Content-Length \"" + std::string(value) + "\"");
    if (length_ && *length_ != *length) return Bad("two different Content-Length");
    length_ = length;
  } else if (SameWord(name, "Transfer-Encoding")) {
    if (chunked_ || !SameWord(value, "chunked")) return Bad("Transfer-Encoding \"" + std::string(value) + "\"");
    chunked_ = true;
  } else if (SameWord(name, "Connection")) {
    ForEachElement(value, [this](std::string_view word) {
      if (SameWord(word, "close")) closes_ = true;
      if (SameWord(word, "keep-alive")) says_keep_alive_ = true;
    });
  } else if (SameWord(name, "Keep-Alive")) {
    ForEachElement(value, [this](std::string_view word) {
      if (word.size() > 8 && SameWord(word.substr(0, 8), "timeout=")) {
        if (const auto seconds = Number(word.substr(8), 10); seconds && *seconds < 1'000'000) {
          keep_alive_seconds_ = static_cast<int>(*seconds);
        }
      }
    });
  }
}

bool ResponseReader::End() {
  if (state_ == State::kUntilClose) state_ = State::kDone;
  return done();
}

}  // namespace support
