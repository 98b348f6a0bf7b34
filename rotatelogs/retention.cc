#include "rotatelogs/retention.h"

#include <algorithm>
#include <numeric>

namespace rotatelogs {

std::vector<size_t> ChooseExpired(const std::vector<KeptFile>& files, const KeepLimits& limits, int64_t now_seconds) {
  std::vector<size_t> order(files.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&files](size_t a, size_t b) { return files[a].changed > files[b].changed; });
  int64_t count = 0;
  int64_t bytes = 0;
  std::vector<size_t> out;
  for (const size_t index : order) {  // newest first
    const KeptFile& file = files[index];
    ++count;
    bytes += file.bytes;
    const bool too_many = limits.count > 0 && count > limits.count;
    const bool too_large = limits.bytes > 0 && bytes > limits.bytes;
    const bool too_old = limits.seconds > 0 && now_seconds - file.changed / 1'000'000'000 > limits.seconds;
    if (file.removable && (too_many || too_large || too_old)) out.push_back(index);
  }
  std::reverse(out.begin(), out.end());
  return out;
}

}  // namespace rotatelogs
