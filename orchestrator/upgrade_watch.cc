#include <unistd.h>

#include <cstdlib>

#include "orchestrator/report_file.h"
#include "orchestrator/upgrade_run.h"

namespace orchestrator {

using std::chrono::milliseconds;

namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

}  // namespace

void Upgrade::StartObserving() {
  const std::string terminal = Environment("TERM");
  const bool live = options_.live && report_.form() == Report::Form::kPlain && ::isatty(STDOUT_FILENO) != 0 &&
                    !terminal.empty() && terminal != "dumb";
  observer_ = std::make_unique<Observer>(clock_, report_.started(), live ? std::optional(STDOUT_FILENO) : std::nullopt,
                                         StyleOf(Environment));
  observer_->Tell([](Story& story) {
    story.user = UserName();
    story.id = std::to_string(::getpid());
  });
  report_.Listen(observer_.get(), live ? Report::Form::kLive : report_.form());
}

void Upgrade::ObserveOld() {
  if (!observer_) return;  // --dry-run
  observer_->Tell([this](Story& story) {
    story.server_root = config_.server_root;
    story.config_file = config_.config_file;
    story.party[At(Side::kOld)] = {old_.id.pid, false, old_.hello.version, old_.hello.binary};
  });
  auto control = httpd::Control::Connect(config_.runtime_dir, old_.id.pid);
  if (control) observer_->Watch(Side::kOld, old_.id.pid, std::move(control).value());
}

void Upgrade::ObserveListeners(const ListenerDiff& diff) {
  if (!observer_) return;
  observer_->Tell([&diff](Story& story) {
    story.keep = diff.keep;
    story.add = diff.add;
    story.remove = diff.remove;
  });
  observer_->Hold(old_listeners_);
}

void Upgrade::ObserveNewcomer() {
  auto control = httpd::Control::Connect(config_.runtime_dir, newcomer_->pid());
  if (control) observer_->Watch(Side::kNew, newcomer_->pid(), std::move(control).value());
}

void Upgrade::ObserveCountdown(const std::string& what, std::optional<milliseconds> span) {
  observer_->Tell([&](Story& story) {
    Countdown countdown{what, std::nullopt};
    if (span) countdown.until_ms = observer_->NowMs() + span->count();
    story.countdown = countdown;
  });
}

/// Draws the last frame and writes the report. @return where that is; "" = there is none
std::string Upgrade::EndObserving(std::string_view status, int exit_status, const std::string& reason) {
  if (!observer_) return "";
  observer_->Tell([this](Story& story) { story.detached = committed_ && options_.detach; });
  observer_->Result(status, exit_status, reason);
  report_.Listen(nullptr, report_.json() ? Report::Form::kJson : Report::Form::kPlain);
  const Story& story = observer_->Stop();
  if (!newcomer_ || !options_.keep_report) return "";  // nothing was launched: the sentence says it all
  ReportPlace place = options_.report.empty() ? PlaceReport(config_.runtime_dir / "orchestrator", story)
                                              : PlaceReportAt(options_.report);
  if (auto written = WriteReport(story, place); !written) {
    report_.Note("the report was not written: " + written.error().Text());
    return "";
  }
  return place.html;
}

}  // namespace orchestrator
