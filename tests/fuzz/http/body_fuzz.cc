// A chunked body fed in pieces is the body fed at once; it never takes more than it was given, and never stalls.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "httpd/http/request.h"

namespace {

using httpd::http::BodyReader;
using State = BodyReader::Step::State;

void Require(bool good) {
  if (!good) std::abort();
}

struct Outcome {
  State state = State::kMore;
  int status = 0;
  size_t consumed = 0;
  std::string body;
  bool operator==(const Outcome&) const = default;
};

Outcome FeedAll(std::string_view input, size_t piece) {
  httpd::http::RequestHead head;
  head.chunked = true;
  BodyReader reader;
  reader.Start(head, 1000);
  Outcome outcome;
  while (outcome.state == State::kMore && outcome.consumed < input.size()) {
    const std::string_view part = input.substr(outcome.consumed, piece);
    const auto step = reader.Feed(part);
    Require(step.consumed <= part.size());
    Require(step.consumed > 0 || step.state != State::kMore);
    outcome.state = step.state;
    outcome.status = step.status;
    outcome.consumed += step.consumed;
    outcome.body += step.data;
  }
  Require(outcome.body.size() == reader.received() && outcome.body.size() <= 1000);
  return outcome;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data + 1), size - 1);
  Require(FeedAll(input, input.size() + 1) == FeedAll(input, data[0] % 16 + 1));
  return 0;
}
