#include "orchestrator/observe.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "orchestrator/context.h"
#include "orchestrator/listeners.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds kTick{200};   // between two questions
constexpr milliseconds kFrame{200};  // between two frames
constexpr seconds kMemory{1};        // between two looks into /proc/PID/smaps_rollup

Reading ToReading(const httpd::Status& status, int64_t at_ms) {
  Reading out;
  out.at_ms = at_ms;
  out.state = httpd::StateName(status.state);
  out.accepted = status.own_accepted;
  out.requests = status.own_accesses;
  out.errors = status.own_errors;
  out.bytes = status.own_bytes;
  out.duration_us = status.own_duration_us;
  out.adopted = status.adopted;
  out.passed = status.passed;
  out.connections = status.connections;
  out.busy = status.busy;
  out.oldest_ms = status.oldest_ms;
  return out;
}

}  // namespace

Observer::Observer(const os::Clock& clock, os::Clock::Steady began, std::optional<int> live, const ViewStyle& style)
    : clock_(clock), began_(began), style_(style), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (live) screen_.emplace(*live, clock);
  story_.began_unix_ms =
      std::chrono::duration_cast<milliseconds>((clock.WallNow() - (clock.SteadyNow() - began)).time_since_epoch())
          .count();
  thread_ = std::thread([this] { Run(); });
}

Observer::~Observer() {
  Stop();
}

int64_t Observer::NowMs() const {
  return std::chrono::duration_cast<milliseconds>(clock_.SteadyNow() - began_).count();
}

void Observer::Wake() {
  const uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) < 0) return;  // it is awake already
}

void Observer::Tell(const std::function<void(Story&)>& change) {
  const std::lock_guard guard(lock_);
  change(story_);
}

void Observer::Watch(Side side, pid_t pid, httpd::Control control) {
  {
    const std::lock_guard guard(lock_);
    Watched watched;
    watched.pid = pid;
    watched.control = std::move(control);
    arrived_.emplace_back(side, std::move(watched));
    changed_ = true;
  }
  Wake();
}

void Observer::Hold(const std::vector<handover::Listener>& listeners) {
  const std::lock_guard guard(lock_);
  held_.clear();
  for (const auto& listener : listeners) {
    os::Fd copy = listener.fd.Duplicate();
    if (copy.valid()) held_.push_back(std::move(copy));
  }
}

void Observer::LetGo() {
  const std::lock_guard guard(lock_);
  held_.clear();
}

// ---- what it is told -----------------------------------------------------------------------------------------------

void Observer::StepBegins(Step step) {
  {
    const std::lock_guard guard(lock_);
    StepStory entry;
    entry.step = step;
    entry.began_ms = NowMs();
    story_.steps.push_back(std::move(entry));
    story_.countdown.reset();
    changed_ = true;
  }
  Wake();
}

void Observer::StepDone(Step step, std::string_view detail) {
  {
    const std::lock_guard guard(lock_);
    for (StepStory& entry : story_.steps) {
      if (entry.step != step) continue;
      entry.ended_ms = NowMs();
      entry.detail = detail;
    }
    changed_ = true;
  }
  Wake();
}

void Observer::Note(std::string_view text) {
  const std::lock_guard guard(lock_);
  story_.notes.push_back({NowMs(), std::string(text)});
}

void Observer::Cut(std::string_view text) {
  const std::lock_guard guard(lock_);
  story_.cut.emplace_back(text);
}

void Observer::Result(std::string_view status, int exit_status, std::string_view reason) {
  {
    const std::lock_guard guard(lock_);
    story_.ended_ms = NowMs();
    story_.status = status;
    story_.exit_status = exit_status;
    story_.reason = reason;
    story_.countdown.reset();
  }
  Stop();
}

const Story& Observer::Stop() {
  {
    const std::lock_guard guard(lock_);
    stopping_ = true;
    held_.clear();
  }
  Wake();
  if (thread_.joinable()) thread_.join();
  return story_;
}

// ---- the thread ----------------------------------------------------------------------------------------------------

void Observer::Run() {
  ::pthread_setname_np(::pthread_self(), "observer");
  auto opened = os::PollLoop::Open(clock_);
  if (!opened) return;
  os::PollLoop& loop = *opened.value();
  auto woken = loop.Watch(wake_, EPOLLIN, [this](uint32_t) {
    uint64_t count = 0;
    if (::read(wake_.get(), &count, sizeof count) < 0) return;
  });
  if (!woken) return;
  auto next_tick = clock_.SteadyNow();
  auto next_frame = next_tick;
  next_memory_ = next_tick;
  bool row_open = false;  // asked, and not everything has been written down
  for (;;) {
    TakeNewcomers(loop);
    bool changed = false;
    bool stopping = false;
    {
      const std::lock_guard guard(lock_);
      changed = std::exchange(changed_, false);
      stopping = stopping_;
    }
    auto now = clock_.SteadyNow();
    const auto owed = [this] {
      return std::any_of(watched_.begin(), watched_.end(), [](const auto& w) { return w && w->asked; });
    };
    if (changed || now >= next_tick || stopping) {
      if (row_open) WriteDown();  // without those that still owe an answer
      Ask();
      row_open = true;
      next_tick = now + kTick;
    }
    if (stopping) {  // what they say at the very end counts: 50 ms for it
      const auto patience = now + milliseconds(50);
      while (owed() && clock_.SteadyNow() < patience) loop.Turn(milliseconds(10));
    }
    if (row_open && !owed()) {
      WriteDown();
      row_open = false;
    }
    now = clock_.SteadyNow();
    if (stopping) break;
    if (screen_ && now >= next_frame) {
      DrawFrame(Frame::kLive);
      next_frame = clock_.SteadyNow() + kFrame;
    }
    const auto until = screen_ ? std::min(next_tick, next_frame) : next_tick;
    loop.Turn(std::max(milliseconds(0), std::chrono::ceil<milliseconds>(until - clock_.SteadyNow())));
  }
  if (row_open) WriteDown();
  if (screen_) DrawFrame(Frame::kLast);
  for (auto& watched : watched_) {
    if (watched) loop.Unwatch(watched->control.fd());
    watched.reset();
  }
}

void Observer::TakeNewcomers(os::PollLoop& loop) {
  std::vector<std::pair<Side, Watched>> arrived;
  {
    const std::lock_guard guard(lock_);
    arrived = std::exchange(arrived_, {});
  }
  for (auto& [side, watched] : arrived) {
    auto& place = watched_[At(side)];
    if (place) loop.Unwatch(place->control.fd());
    place = std::move(watched);
    next_memory_ = clock_.SteadyNow();
    auto watching =
        loop.Watch(place->control.fd(), EPOLLIN, [this, &loop, one = side](uint32_t) { OnAnswer(loop, one); });
    if (!watching) place.reset();
  }
}

void Observer::Ask() {
  for (auto& watched : watched_) {
    if (!watched || watched->asked) continue;
    if (watched->control.SendStatusQuery()) watched->asked = true;  // otherwise its end shows as an answer
  }
  if (clock_.SteadyNow() < next_memory_) return;
  next_memory_ = clock_.SteadyNow() + kMemory;
  for (const Side side : kSides) {
    const auto& watched = watched_[At(side)];
    if (!watched) continue;
    const int64_t bytes = MeasureMemory(watched->pid);
    if (bytes > 0) memory_[At(side)] = bytes;
  }
}

void Observer::OnAnswer(os::PollLoop& loop, Side side) {
  auto& watched = watched_[At(side)];
  if (!watched) return;
  auto status = watched->control.ReceiveStatus();
  if (status) {
    watched->asked = false;
    watched->fresh = ToReading(status.value(), NowMs());
    return;
  }
  if (status.error().kind == os::ErrorKind::kBusy) return;
  if (status.error().kind == os::ErrorKind::kInvalid) {  // it does not know the verb: asked again, it may
    watched->asked = false;
    return;
  }
  loop.Unwatch(watched->control.fd());
  const std::lock_guard guard(lock_);
  if (story_.party[At(side)].pid == watched->pid) story_.party[At(side)].gone = true;
  watched.reset();
}

void Observer::WriteDown() {
  Sample sample;
  sample.at_ms = NowMs();
  for (const Side side : kSides) {
    auto& watched = watched_[At(side)];
    if (watched) sample.side[At(side)] = std::exchange(watched->fresh, std::nullopt);
  }
  sample.memory = std::exchange(memory_, {});
  const std::lock_guard guard(lock_);
  if (!held_.empty()) {
    int64_t depth = 0;
    for (const os::Fd& listener : held_) depth += QueueDepth(listener);
    sample.queue = depth;
  }
  if (sample.side[0] || sample.side[1] || sample.queue) story_.timeline.Add(std::move(sample));
}

void Observer::DrawFrame(Frame frame) {
  const TerminalSize size = screen_->Size();
  style_.columns = std::max(20, size.columns);
  style_.rows = std::max(4, size.rows);
  std::vector<std::string> lines;
  {
    const std::lock_guard guard(lock_);
    lines = RenderView(story_, story_.ended_ms.value_or(NowMs()), style_, frame);
  }
  screen_->Draw(lines, size.columns);
}

}  // namespace orchestrator
