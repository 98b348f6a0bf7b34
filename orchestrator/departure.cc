#include "orchestrator/departure.h"

#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>

#include "handover/instance_files.h"
#include "orchestrator/faults.h"
#include "os/file.h"

namespace orchestrator {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

namespace fs = std::filesystem;

constexpr milliseconds kForEver{int64_t{86400} * 1000 * 365 * 100};
constexpr milliseconds kTermAfter{3000};  // its own deadline, then 2 s for its children, are to do
constexpr milliseconds kKillAfter{5000};  // after TERM
constexpr int kOrphanMs = 1500;           // orphaned children leave after half a second
constexpr unsigned kMostInResult = 100;

Poco::JSON::Object CutJson(const handover::CutRequest& request) {
  auto out = Ordered();
  out.set("client", request.client);
  out.set("phase", std::string(handover::PhaseName(request.phase)));
  out.set("request", request.request);
  out.set("age_ms", request.age_ms);
  if (request.bytes_sent) out.set("bytes_sent", *request.bytes_sent);
  if (request.bytes_left) out.set("bytes_left", *request.bytes_left);
  return out;
}

/// Reads and removes the list that the instance left; nullopt: it left none.
std::optional<std::vector<handover::CutRequest>> TakeCutList(const fs::path& runtime_dir, pid_t pid) {
  const std::string path = handover::CutPath(runtime_dir, pid);
  auto text = os::ReadFile(path, 64U << 20);
  if (!text) return std::nullopt;
  std::vector<handover::CutRequest> out;
  std::string_view rest = text.value();
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;
    if (auto request = handover::ParseCut(rest.substr(0, end))) out.push_back(std::move(*request));
    rest.remove_prefix(end + 1);
  }
  if (!os::RemoveFile(path)) return out;  // the next command tries again
  return out;
}

}  // namespace

std::string Cuts::Text(pid_t pid, int timeout) const {
  if (unknown) {
    return "process " + std::to_string(pid) + " had to be killed at the deadline of " + std::to_string(timeout) +
           " s, and what it had in progress is not known";
  }
  return CountOf(count, "request") + " of process " + std::to_string(pid) + " " + (count == 1 ? "was" : "were") +
         " cut at the deadline of " + std::to_string(timeout) + " s" +
         (killed        ? ", and it had to be killed"
          : needed_term ? ", and it needed a TERM"
                        : "");
}

std::string Cuts::Examples() const {
  constexpr size_t kMost = 5;
  std::string out;
  for (size_t i = 0; i < std::min(kMost, requests.size()); ++i) {
    out += (out.empty() ? "" : "; ") + handover::CutText(requests[i]);
  }
  if (requests.size() > kMost) out += "; and " + std::to_string(requests.size() - kMost) + " more";
  return out;
}

Poco::JSON::Array CutsJson(const std::vector<handover::CutRequest>& requests) {
  Poco::JSON::Array out;
  for (const auto& request : requests) {
    if (out.size() == kMostInResult) break;
    out.add(CutJson(request));
  }
  return out;
}

Departure::Departure(const httpd::Instance& instance, httpd::Control& control, fs::path runtime_dir, int timeout,
                     os::Clock::Steady began, Report& report, os::Clock& clock)
    : instance_(instance),
      control_(control),
      runtime_dir_(std::move(runtime_dir)),
      timeout_(timeout),
      deadline_(began + (timeout == 0 ? kForEver : milliseconds(seconds(timeout)))),
      next_line_(clock.SteadyNow() + seconds(1)),
      report_(report),
      clock_(clock) {}

milliseconds Departure::Pause() const {
  const auto left = deadline_ - clock_.SteadyNow();
  return left < milliseconds(1500) && left > milliseconds(-500) ? milliseconds(50) : milliseconds(250);
}

void Departure::Look() {
  const std::string who = "process " + std::to_string(instance_.id.pid);
  const auto now = clock_.SteadyNow();
  if (auto status = control_.AskStatus(200); status && status.value().connections >= 0) {
    if (now < deadline_) last_ = status.value();
    if (now >= next_line_) {
      next_line_ = now + seconds(1);
      auto more = Ordered();
      more.set("pid", instance_.id.pid);
      more.set("connections", status.value().connections);
      more.set("busy", status.value().busy);
      more.set("oldest_ms", status.value().oldest_ms);
      std::string left = "no limit";
      if (timeout_ != 0) {
        const auto ms = std::max(milliseconds(0), std::chrono::ceil<milliseconds>(deadline_ - now));
        more.set("deadline_ms", ms.count());
        left = "deadline in " + std::to_string(std::chrono::ceil<seconds>(ms).count()) + " s";
      }
      report_.Progress(CountOf(status.value().connections, "connection") + ", " +
                           CountOf(status.value().busy, "request") + " left in " + who + ", oldest " +
                           std::to_string(status.value().oldest_ms) + " ms; " + left,
                       more);
    }
  }
  if (!term_sent_ && now >= deadline_ + kTermAfter && !instance_.process.HasEnded()) {
    term_sent_ = true;
    report_.Note(who + " is still there after its deadline: TERM");
    if (auto sent = instance_.process.Signal(SIGTERM); !sent && !instance_.process.HasEnded()) {
      report_.Note("TERM: " + sent.error().Text());
    }
    Fault("done.term");
  }
  if (!kill_sent_ && now >= deadline_ + kTermAfter + kKillAfter && !instance_.process.HasEnded()) Kill();
}

/// Before KILL its children are written down: nobody else could tell afterwards whose they were.
void Departure::Kill() {
  kill_sent_ = true;
  const std::string pid = std::to_string(instance_.id.pid);
  report_.Note("process " + pid + " ignores TERM: KILL");
  std::error_code failed;
  const fs::path program = fs::read_symlink("/proc/" + pid + "/exe", failed);
  if (auto text = os::ReadFile("/proc/" + pid + "/task/" + pid + "/children"); text) {
    for (const char* at = text.value().c_str(); *at;) {
      char* end = nullptr;
      const long child = std::strtol(at, &end, 10);
      if (end == at) break;
      at = *end == ' ' ? end + 1 : end;
      auto process = os::ProcessHandle::Open(static_cast<pid_t>(child));
      if (!process) continue;
      const fs::path its = fs::read_symlink("/proc/" + std::to_string(child) + "/exe", failed);
      children_.push_back({std::move(process).value(), !failed && its == program});
    }
  }
  if (auto sent = instance_.process.Signal(SIGKILL); !sent && !instance_.process.HasEnded()) {
    report_.Note("KILL: " + sent.error().Text());
  }
  Fault("done.kill");
}

void Departure::EndOrphans() {
  const auto patience = clock_.SteadyNow() + milliseconds(kOrphanMs);
  for (const Child& child : children_) {
    const auto left = std::chrono::ceil<milliseconds>(patience - clock_.SteadyNow()).count();
    if (child.process.WaitForEnd(static_cast<int>(std::max<int64_t>(0, left)))) continue;
    const std::string who = "process " + std::to_string(child.process.pid()) + ", which process " +
                            std::to_string(instance_.id.pid) + " had started, ";
    if (!child.is_server) {  // a log program reads its pipe to the end: it is not ours to cut
      report_.Note(who + "is a log program and still at work");
      continue;
    }
    report_.Note(who + "does not end with it: KILL");
    if (!child.process.Signal(SIGKILL) || !child.process.WaitForEnd(kOrphanMs)) {
      report_.Note(who + "is still there");
    }
  }
}

Cuts Departure::Finish() {
  EndOrphans();
  Cuts cuts;
  cuts.killed = kill_sent_;
  cuts.needed_term = term_sent_;
  auto listed = TakeCuts(runtime_dir_, instance_.id.pid, report_);
  handover::RemoveInstanceFiles(runtime_dir_, instance_.id.pid);  // it did so itself, unless it was killed
  const bool at_deadline = timeout_ != 0 && clock_.SteadyNow() >= deadline_ - milliseconds(50);
  const int64_t was_busy = at_deadline && last_ ? last_->busy : 0;
  if (listed) {
    cuts.requests = std::move(*listed);
    cuts.count = static_cast<int64_t>(cuts.requests.size());
    if (kill_sent_) cuts.count = std::max(cuts.count, was_busy);
  } else {
    cuts.unknown = kill_sent_ && !last_;
    cuts.count = was_busy;  // killed before it could tell, or a release that does not
  }
  return cuts;
}

std::optional<std::vector<handover::CutRequest>> TakeCuts(const fs::path& runtime_dir, pid_t pid, Report& report) {
  auto listed = TakeCutList(runtime_dir, pid);
  if (!listed) return std::nullopt;
  for (const auto& request : *listed) {
    auto more = Ordered();
    more.set("pid", pid);
    const auto fields = CutJson(request);
    for (const std::string& name : fields.getNames()) more.set(name, fields.get(name));
    report.Event("cut", "            cut: " + handover::CutText(request), more);
  }
  return listed;
}

void RemoveStaleCutLists(const fs::path& runtime_dir, const os::Clock& clock) {
  auto names = os::ListDirectory(runtime_dir);
  if (!names) return;
  for (const std::string& name : names.value()) {
    const pid_t pid = handover::PidOfCut(name);
    struct stat st {};
    if (pid == 0 || os::Identify(pid) || ::stat((runtime_dir / name).c_str(), &st) != 0) continue;
    if (static_cast<double>(st.st_mtime) + 60 > UnixSeconds(clock)) continue;
    if (!os::RemoveFile(runtime_dir / name)) continue;  // not ours to remove: its owner's next command does
  }
}

}  // namespace orchestrator
