#include "orchestrator/timeline.h"

#include <algorithm>

namespace orchestrator {

namespace {

Interval Between(const Reading& from, const Reading& to) {
  Interval out;
  out.from_ms = from.at_ms;
  out.to_ms = to.at_ms;
  out.accepted = to.accepted - from.accepted;
  out.requests = to.requests - from.requests;
  out.errors = to.errors - from.errors;
  out.bytes = to.bytes - from.bytes;
  out.duration_us = to.duration_us - from.duration_us;
  return out;
}

void NeverFall(Reading& now, const Reading& before) {
  for (int64_t Reading::*counter : {&Reading::accepted, &Reading::requests, &Reading::errors, &Reading::bytes,
                                    &Reading::duration_us, &Reading::adopted, &Reading::passed}) {
    now.*counter = std::max(now.*counter, before.*counter);
  }
  now.at_ms = std::max(now.at_ms, before.at_ms);
}

/// `later` takes the highest of what goes up and down.
void Absorb(const std::optional<Reading>& earlier, std::optional<Reading>& later) {
  if (!earlier) return;
  if (!later) {
    later = earlier;
    return;
  }
  later->connections = std::max(later->connections, earlier->connections);
  later->busy = std::max(later->busy, earlier->busy);
  later->oldest_ms = std::max(later->oldest_ms, earlier->oldest_ms);
}

void Absorb(const std::optional<int64_t>& earlier, std::optional<int64_t>& later) {
  if (earlier) later = std::max(*earlier, later.value_or(*earlier));
}

}  // namespace

double Interval::PerSecond(int64_t count) const {
  return to_ms > from_ms ? static_cast<double>(count) * 1000.0 / static_cast<double>(to_ms - from_ms) : 0.0;
}

double Interval::MeanMs() const {
  return requests > 0 ? static_cast<double>(duration_us) / 1000.0 / static_cast<double>(requests) : 0.0;
}

void Timeline::Add(Sample sample) {
  for (const Side side : kSides) {
    Totals& totals = totals_[At(side)];
    if (sample.memory[At(side)]) totals.peak_memory = std::max(totals.peak_memory, *sample.memory[At(side)]);
    if (!sample.side[At(side)]) continue;
    Reading& now = *sample.side[At(side)];
    auto& last = last_[At(side)];
    if (last) {
      NeverFall(now, *last);
      const Interval step = Between(*last, now);
      totals.all.accepted += step.accepted;
      totals.all.requests += step.requests;
      totals.all.errors += step.errors;
      totals.all.bytes += step.bytes;
      totals.all.duration_us += step.duration_us;
    } else {
      totals.all.from_ms = now.at_ms;
    }
    totals.all.to_ms = now.at_ms;
    totals.adopted = now.adopted;
    totals.passed = now.passed;
    totals.peak_connections = std::max(totals.peak_connections, now.connections);
    totals.peak_busy = std::max(totals.peak_busy, now.busy);
    totals.peak_oldest_ms = std::max(totals.peak_oldest_ms, now.oldest_ms);
    totals.seen = true;
    last = now;
  }
  if (sample.queue) peak_queue_ = std::max(peak_queue_, *sample.queue);
  if (sample.memory[0] || sample.memory[1]) {
    peak_memory_ = std::max(peak_memory_, sample.memory[0].value_or(0) + sample.memory[1].value_or(0));
  }
  samples_.push_back(std::move(sample));
  if (samples_.size() >= kMostSamples) Halve();
}

void Timeline::Halve() {
  std::vector<Sample> out;
  out.reserve(kMostSamples);
  // Where each instance was first heard stays a sample of its own: counting begins there.
  std::array<bool, 2> heard = {false, false};
  for (size_t i = 0; i < samples_.size(); ++i) {
    const bool first = (samples_[i].side[0] && !heard[0]) || (samples_[i].side[1] && !heard[1]);
    for (const Side side : kSides) heard[At(side)] = heard[At(side)] || samples_[i].side[At(side)].has_value();
    if (first || i + 1 == samples_.size()) {
      out.push_back(std::move(samples_[i]));
      continue;
    }
    Sample& next = samples_[i + 1];
    const bool next_is_first = (next.side[0] && !heard[0]) || (next.side[1] && !heard[1]);
    if (next_is_first) {
      out.push_back(std::move(samples_[i]));
      continue;
    }
    for (const Side side : kSides) {
      Absorb(samples_[i].side[At(side)], next.side[At(side)]);
      Absorb(samples_[i].memory[At(side)], next.memory[At(side)]);
    }
    Absorb(samples_[i].queue, next.queue);
    out.push_back(std::move(next));
    ++i;
  }
  samples_ = std::move(out);
}

std::vector<Interval> Timeline::Intervals(Side side) const {
  std::vector<Interval> out;
  const Reading* before = nullptr;
  for (const Sample& sample : samples_) {
    const auto& now = sample.side[At(side)];
    if (!now) continue;
    if (before) out.push_back(Between(*before, *now));
    before = &*now;
  }
  return out;
}

const Reading* Timeline::Last(Side side) const {
  return last_[At(side)] ? &*last_[At(side)] : nullptr;
}

Interval Timeline::Recent(Side side, int64_t window_ms) const {
  const Reading* to = nullptr;
  const Reading* from = nullptr;
  for (auto sample = samples_.rbegin(); sample != samples_.rend(); ++sample) {
    const auto& reading = sample->side[At(side)];
    if (!reading) continue;
    if (!to) {
      to = &*reading;
      continue;
    }
    if (from && to->at_ms - reading->at_ms > window_ms) break;
    from = &*reading;
  }
  if (!to) return {};
  if (!from) {
    Interval none;
    none.from_ms = none.to_ms = to->at_ms;
    return none;
  }
  return Between(*from, *to);
}

}  // namespace orchestrator
