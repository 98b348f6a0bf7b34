#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace support {

/// Counts of durations in microseconds, log-linear: 128 steps per power of two, so a percentile is at most 0.8 % too
/// high and never too low. Range 0 to 2^36 us (19 hours; longer counts as that). The maximum is exact. 30 KB, no
/// allocation.
class Histogram {
 public:
  void Record(uint64_t microseconds);
  void Merge(const Histogram& other);

  uint64_t count() const { return count_; }
  uint64_t max() const { return max_; }  ///< 0 when nothing was recorded
  /// Smallest recorded value that at least `fraction` (0 to 1) of all values do not exceed. 0 when nothing was
  /// recorded.
  uint64_t Percentile(double fraction) const;

 private:
  static constexpr int kStepBits = 7;
  static constexpr int kMaxBits = 36;
  static constexpr size_t kSlots = (kMaxBits - kStepBits + 1) << kStepBits;
  static size_t Slot(uint64_t value);
  static uint64_t TopOfSlot(size_t slot);

  std::array<uint64_t, kSlots> slots_{};
  uint64_t count_ = 0;
  uint64_t max_ = 0;
};

}  // namespace support
