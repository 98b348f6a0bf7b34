#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace orchestrator {

/// The two instances of an upgrade.
enum class Side { kOld = 0, kNew = 1 };
inline constexpr std::array kSides = {Side::kOld, Side::kNew};
inline constexpr size_t At(Side side) {
  return static_cast<size_t>(side);
}

/// What one instance said at one moment. Counters run since it started and never fall.
struct Reading {
  int64_t at_ms = 0;       ///< when the answer came, since the upgrade began
  std::string_view state;  ///< "serving"; the text is static
  int64_t accepted = 0;    ///< connections
  int64_t requests = 0;    ///< answered
  int64_t errors = 0;      ///< of these, with 5xx
  int64_t bytes = 0;
  int64_t duration_us = 0;  ///< spent on the requests answered, all together
  int64_t adopted = 0;      ///< idle connections taken over
  int64_t passed = 0;       ///< idle connections handed on
  int64_t connections = 0;  ///< open now
  int64_t busy = 0;         ///< requests in progress now
  int64_t oldest_ms = 0;    ///< age of the oldest of them
};

/// Everything that was seen at one moment. After merging: the end of a longer one, gauges at their highest.
struct Sample {
  int64_t at_ms = 0;
  std::array<std::optional<Reading>, 2> side;    ///< nothing: it did not answer, or is not there
  std::optional<int64_t> queue;                  ///< connections that no process has taken yet, all listeners
  std::array<std::optional<int64_t>, 2> memory;  ///< bytes, proportional share, parent and children; once a second
};

/// What happened between two readings of one instance.
struct Interval {
  int64_t from_ms = 0;
  int64_t to_ms = 0;
  int64_t accepted = 0;
  int64_t requests = 0;
  int64_t errors = 0;
  int64_t bytes = 0;
  int64_t duration_us = 0;
  double PerSecond(int64_t count) const;  ///< 0 for an interval without length
  double MeanMs() const;                  ///< of a request; 0 when there was none
};

/// One instance over the whole upgrade.
struct Totals {
  Interval all;  ///< sum of its intervals, exactly
  int64_t adopted = 0;
  int64_t passed = 0;
  int64_t peak_connections = 0;
  int64_t peak_busy = 0;
  int64_t peak_oldest_ms = 0;
  int64_t peak_memory = 0;
  bool seen = false;
};

/// Samples of one upgrade in the order of time, bounded: when there are kMostSamples, neighbours become one, so that an
/// hour takes the room of a minute. Counters are sums since a start, so merging loses no request; of what goes up and
/// down the highest value is kept. Not synchronised.
class Timeline {
 public:
  static constexpr size_t kMostSamples = 600;

  /// @param sample  not earlier than the last one. A counter that falls (an answer that was put together while a child
  ///             ended) is held at its highest.
  void Add(Sample sample);

  const std::vector<Sample>& samples() const { return samples_; }
  /// Between the readings of `side`: the first one is where counting begins.
  std::vector<Interval> Intervals(Side side) const;
  const Totals& totals(Side side) const { return totals_[At(side)]; }
  int64_t peak_queue() const { return peak_queue_; }
  int64_t peak_memory() const { return peak_memory_; }  ///< both together, at one moment
  /// The last reading of `side`; null: none.
  const Reading* Last(Side side) const;
  /// What happened during the last `window_ms` (at least one interval, if there is one).
  Interval Recent(Side side, int64_t window_ms) const;

 private:
  void Halve();
  std::vector<Sample> samples_;
  std::array<Totals, 2> totals_;
  std::array<std::optional<Reading>, 2> last_;
  int64_t peak_queue_ = 0;
  int64_t peak_memory_ = 0;
};

}  // namespace orchestrator
