#pragma once

#include <array>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "handover/listen_fds.h"
#include "orchestrator/drivers/httpd.h"
#include "orchestrator/live_view.h"
#include "orchestrator/report.h"
#include "orchestrator/screen.h"
#include "orchestrator/story.h"
#include "os/clock.h"
#include "os/poll.h"

namespace orchestrator {

/// Watches an upgrade from beside it: asks both instances five times a second, writes down what happens, and draws the
/// live view.
///
/// Thread    one of its own, so that neither an instance that does not answer, nor a /proc file that takes long, nor a
///           terminal that was stopped ever delays a step. Signals must be blocked before it is made. Every public
///           call may come from any thread and returns at once, but Stop(), which waits for the last frame.
/// Sockets   its own connections to both instances; they carry nothing but `status`.
/// Failure   is never one of the upgrade: without a loop, or without answers, there are fewer figures.
class Observer : public Audience {
 public:
  /// @param began  time 0 of the story
  /// @param live   draws on this terminal (a descriptor, a loan); nothing: no live view
  Observer(const os::Clock& clock, os::Clock::Steady began, std::optional<int> live, const ViewStyle& style);
  ~Observer() override;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;

  /// Changes what is told about the upgrade.
  void Tell(const std::function<void(Story&)>& change);
  int64_t NowMs() const;

  /// From now on asks this instance too. @param control  a connection that nobody else uses
  void Watch(Side side, pid_t pid, httpd::Control control);
  /// Looks at the accept queues of these, through copies.
  void Hold(const std::vector<handover::Listener>& listeners);
  /// Closes the copies before it returns: a port that nobody else holds is closed then.
  void LetGo();

  void StepBegins(Step step) override;
  void StepDone(Step step, std::string_view detail) override;
  void Note(std::string_view text) override;
  void Cut(std::string_view text) override;
  /// The end: the last frame is drawn and stays.
  void Result(std::string_view status, int exit_status, std::string_view reason) override;

  /// Ends the thread; the story is complete. Later calls return the same.
  const Story& Stop();

 private:
  struct Watched {
    pid_t pid = 0;
    httpd::Control control;
    bool asked = false;  ///< an answer is due
    std::optional<Reading> fresh;
  };
  void Run();
  void Wake();
  void TakeNewcomers(os::PollLoop& loop);
  void Ask();
  void OnAnswer(os::PollLoop& loop, Side side);
  void WriteDown();
  void DrawFrame(Frame frame);

  const os::Clock& clock_;
  const os::Clock::Steady began_;
  std::optional<Screen> screen_;
  ViewStyle style_;
  os::Fd wake_;
  std::thread thread_;

  std::mutex lock_;  // of everything down to the line
  Story story_;
  std::vector<os::Fd> held_;
  std::vector<std::pair<Side, Watched>> arrived_;
  bool changed_ = false;  ///< something happened that is worth a row and a frame at once
  bool stopping_ = false;
  // ----
  std::array<std::optional<Watched>, 2> watched_;  // of the thread
  std::array<std::optional<int64_t>, 2> memory_;
  os::Clock::Steady next_memory_;
};

}  // namespace orchestrator
