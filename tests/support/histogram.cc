#include "tests/support/histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace support {

size_t Histogram::Slot(uint64_t value) {
  value = std::min(value, (uint64_t{1} << kMaxBits) - 1);
  if (value < (uint64_t{1} << kStepBits)) return value;
  const int shift = std::bit_width(value) - 1 - kStepBits;  // drops what a step does not resolve
  return (static_cast<size_t>(shift + 1) << kStepBits) + ((value >> shift) - (uint64_t{1} << kStepBits));
}

uint64_t Histogram::TopOfSlot(size_t slot) {
  const size_t group = slot >> kStepBits;
  const uint64_t step = slot & ((size_t{1} << kStepBits) - 1);
  if (group == 0) return step;
  const size_t shift = group - 1;
  return ((step + (uint64_t{1} << kStepBits) + 1) << shift) - 1;
}

void Histogram::Record(uint64_t microseconds) {
  ++slots_[Slot(microseconds)];
  ++count_;
  max_ = std::max(max_, microseconds);
}

void Histogram::Merge(const Histogram& other) {
  for (size_t i = 0; i < kSlots; ++i) slots_[i] += other.slots_[i];
  count_ += other.count_;
  max_ = std::max(max_, other.max_);
}

uint64_t Histogram::Percentile(double fraction) const {
  if (count_ == 0) return 0;
  const auto wanted =
      std::clamp<uint64_t>(static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(count_))), 1, count_);
  uint64_t seen = 0;
  for (size_t i = 0; i < kSlots; ++i) {
    seen += slots_[i];
    if (seen >= wanted) return std::min(TopOfSlot(i), max_);
  }
  return max_;
}

}  // namespace support
