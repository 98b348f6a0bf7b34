#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "handover/cut_list.h"

/// A line of a cut list, whoever wrote it: refused, or a request that comes back from its own line. And the other way
/// round: whatever a client sent as its request, the line is one line.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  handover::CutRequest request;
  request.client = text.substr(0, 60);
  request.request = text;
  std::string line = handover::FormatCut(request);
  if (line.find('\n') != line.size() - 1 || line.size() > 9000) abort();
  line.pop_back();
  if (!handover::ParseCut(line)) abort();
  if (auto parsed = handover::ParseCut(text)) {
    std::string again = handover::FormatCut(*parsed);
    again.pop_back();
    if (!handover::ParseCut(again) || handover::CutText(*parsed).find('\n') != std::string::npos) abort();
  }
  return 0;
}
