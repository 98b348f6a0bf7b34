#include "orchestrator/commands.h"

#include <Poco/JSON/Array.h>
#include <signal.h>

#include <algorithm>
#include <cstdio>
#include <map>

#include "handover/instance_files.h"
#include "orchestrator/departure.h"
#include "orchestrator/drivers/httpd.h"
#include "orchestrator/instances.h"
#include "orchestrator/journal.h"
#include "orchestrator/resume.h"
#include "orchestrator/run_lock.h"
#include "orchestrator/run_program.h"
#include "orchestrator/site.h"

namespace orchestrator {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kTermAfter{10000};  // an instance that was told to stop gets a TERM then, and 5 s later a KILL

int Fail(Report& report, const std::string& reason) {
  report.Result("failed", kExitFailed, reason);
  return kExitFailed;
}

int LockedOut(Report& report, const os::Error& error) {
  const int exit_status = error.kind == os::ErrorKind::kBusy ? kExitBusy : kExitFailed;
  report.Result("failed", exit_status, error.Text());
  return exit_status;
}

os::Result<Output> RunServer(const httpd::Program& program, const std::vector<std::string>& more, milliseconds limit) {
  os::SpawnOptions options;
  options.program = program.binary;
  options.arguments = httpd::CommandLine(program, more);
  options.environment = program.environment;
  options.directory = program.directory;
  return RunProgram(std::move(options), limit);
}

/// `httpd -k stop --wait` does not need a configuration that is right.
int StopByServer(const Options& options, const os::Error& why, Report& report) {
  auto program = ProgramOf(options);
  if (!program) return Fail(report, program.error().Text());
  report.Note(why.Text() + "; asking the server itself to stop");
  auto output =
      RunServer(program.value(), {"-k", options.graceful ? "graceful-stop" : "stop", "--wait"}, std::chrono::hours(24));
  if (!output) return Fail(report, output.error().Text());
  if (output.value().exit.signaled || output.value().exit.code != 0) {
    return Fail(report, "httpd -k stop " + output.value().exit.Text() + ": " + FirstSentence(output.value().err));
  }
  report.Result("done", kExitDone, "stopped");
  return kExitDone;
}

}  // namespace

int RunStart(const Options& options, Report& report, os::Clock& clock) {
  auto found = FindSite(options);
  if (!found) return Fail(report, found.error().Text());
  const Site& site = found.value();
  auto lock = RunLock::Acquire(site.config.runtime_dir, "start", clock);
  if (!lock) return LockedOut(report, lock.error());
  const auto serving = [&](const httpd::Instance& instance, const std::string& verb) {
    auto more = Ordered();
    more.set("pid", instance.id.pid);
    more.set("version", instance.hello.version);
    report.Result("done", kExitDone,
                  verb + ": process " + std::to_string(instance.id.pid) + ", version " + instance.hello.version, more);
    return kExitDone;
  };
  if (auto journal = Journal::Open(lock.value().directory(), Journal::Mode::kExisting, clock); journal) {
    const Recovered recovered = Recover(site, lock.value(), journal.value(), Patience::kNone, report, clock);
    if (recovered.exit_status == kExitFailed) return Fail(report, recovered.sentence);
    if (!recovered.sentence.empty()) report.Note(recovered.sentence);
  } else if (journal.error().kind != os::ErrorKind::kNotFound) {
    report.Note(journal.error().Text());
  }
  if (auto running = httpd::FindServing(site.config); running) {
    if (running.value().hello.state == httpd::State::kServing) return serving(running.value(), "already running");
    return Fail(report, "process " + std::to_string(running.value().id.pid) + " is running and " +
                            std::string(httpd::StateName(running.value().hello.state)) +
                            "; stop it with orchestrator stop");
  } else if (running.error().kind == os::ErrorKind::kDenied) {
    return Fail(report, running.error().Text());
  }
  lock.value().Say("starting the server");
  auto started = StartServer(site.program, site.config, options.ready_timeout, clock);
  if (!started) return Fail(report, started.error().Text());
  return serving(started.value(), "started");
}

int RunStop(const Options& options, Report& report, os::Clock& clock) {
  auto found = FindSite(options);
  if (!found) return StopByServer(options, found.error(), report);
  const Site& site = found.value();
  auto lock = RunLock::Acquire(site.config.runtime_dir, "stop", clock);
  if (!lock) return LockedOut(report, lock.error());
  lock.value().Say("stopping");
  RemoveStaleCutLists(site.config.runtime_dir, clock);
  const int timeout = options.graceful_shutdown_timeout.value_or(site.config.graceful_shutdown_timeout);

  std::vector<httpd::Instance> instances;
  auto list = httpd::ListInstances(site.config.runtime_dir);
  if (!list) return Fail(report, list.error().Text());
  for (const httpd::Found& entry : list.value()) {
    auto instance = httpd::OpenInstance(site.config.runtime_dir, entry.pid);
    if (instance) {
      instances.push_back(std::move(instance).value());
    } else if (instance.error().kind == os::ErrorKind::kDenied) {
      return Fail(report, instance.error().Text());
    } else if (entry.dead) {
      handover::RemoveInstanceFiles(site.config.runtime_dir, entry.pid);
    } else {
      return Fail(report, "process " + std::to_string(entry.pid) + " does not answer (" + entry.problem +
                              "); end it with kill " + std::to_string(entry.pid));
    }
  }
  if (instances.empty()) {
    ForgetInterrupted(lock.value(), report, clock);
    report.Result("done", kExitDone, "not running");
    return kExitDone;
  }
  // The one that serves goes first: it could take over what the others hand on.
  std::stable_partition(instances.begin(), instances.end(),
                        [](const auto& i) { return i.hello.state == httpd::State::kServing; });
  int64_t cut = 0;
  bool killed = false;
  bool unknown = false;
  std::vector<handover::CutRequest> requests;
  const auto began = clock.SteadyNow();
  std::map<pid_t, httpd::Status> before;  // should one not answer any more
  for (httpd::Instance& instance : instances) {
    if (auto status = instance.control.AskStatus(1000); status) before[instance.id.pid] = status.value();
    os::Status told = os::kDone;
    if (!options.graceful) {
      told = instance.control.Stop();
    } else if (instance.hello.state != httpd::State::kDraining) {
      told = instance.control.Drain(timeout, os::Fd(), httpd::Control::CutList::kWrite);
    }
    if (!told && !instance.process.HasEnded()) {
      told = instance.process.Signal(options.graceful ? SIGWINCH : SIGTERM);
      if (!told && !instance.process.HasEnded()) return Fail(report, told.error().Text());
    }
  }
  if (options.graceful && timeout == 0) report.Note("no time limit: this waits until the last request is done");
  for (httpd::Instance& instance : instances) {
    if (!options.graceful) {
      if (AwaitEnd(instance.process, kTermAfter, report) == Ending::kKilled)
        handover::RemoveInstanceFiles(site.config.runtime_dir, instance.id.pid);
      continue;
    }
    Departure departure(instance, instance.control, site.config.runtime_dir, timeout, began, report, clock);
    if (before.contains(instance.id.pid)) departure.Remember(before[instance.id.pid]);
    while (!instance.process.WaitForEnd(static_cast<int>(departure.Pause().count()))) departure.Look();
    Cuts cuts = departure.Finish();
    cut += cuts.count;
    killed = killed || cuts.killed;
    unknown = unknown || cuts.unknown;
    requests.insert(requests.end(), cuts.requests.begin(), cuts.requests.end());
  }
  ForgetInterrupted(lock.value(), report, clock);
  if (cut > 0 || unknown) {
    auto more = Ordered();
    more.set("cut", cut);
    more.set("cut_requests", CutsJson(requests));
    report.Result("done", kExitCut,
                  "stopped; " + CountOf(cut, "request") + (cut == 1 ? " was" : " were") + " cut at the deadline of " +
                      std::to_string(timeout) + " s" +
                      (unknown  ? ", and a process had to be killed of which nobody knows what it had in progress"
                       : killed ? ", and a process had to be killed"
                                : ""),
                  more);
    return kExitCut;
  }
  report.Result("done", kExitDone, "stopped");
  return kExitDone;
}

int RunStatus(const Options& options, Report& report, os::Clock& clock) {
  auto found = FindSite(options);
  if (!found) return Fail(report, found.error().Text());
  const httpd::RunConfig& config = found.value().config;
  auto list = httpd::ListInstances(config.runtime_dir);
  if (!list) return Fail(report, list.error().Text());
  bool serves = false;
  Poco::JSON::Array instances;
  std::string table;
  char line[256];
  std::snprintf(line, sizeof line, "%-9s %-9s %-5s %-19s %6s %6s %10s  %s\n", "PID", "STATE", "GEN", "SINCE", "CONN",
                "BUSY", "REQUESTS", "BINARY");
  table += line;
  const int64_t now = static_cast<int64_t>(UnixSeconds(clock));
  for (const httpd::Found& entry : list.value()) {
    auto object = Ordered();
    object.set("pid", entry.pid);
    if (!entry.hello) {
      object.set("state", entry.dead ? "dead" : "unreachable");
      object.set("problem", entry.problem);
      table += std::to_string(entry.pid) +
               (entry.dead ? "  has ended and left files behind; the next start removes them"
                           : "  does not answer: " + entry.problem) +
               "\n";
      instances.add(object);
      continue;
    }
    const httpd::Hello& hello = *entry.hello;
    const httpd::Status status = entry.status.value_or(httpd::Status());
    serves = serves || hello.state == httpd::State::kServing;
    object.set("state", std::string(httpd::StateName(hello.state)));
    object.set("generation", hello.generation);
    object.set("version", hello.version);
    object.set("binary", hello.binary);
    object.set("started", hello.started);
    object.set("uptime", std::max<int64_t>(0, now - hello.started));
    object.set("connections", status.connections);
    object.set("busy", status.busy);
    object.set("oldest_ms", status.oldest_ms);
    object.set("requests", status.accesses);
    object.set("errors", status.errors);
    object.set("children", status.children);
    instances.add(object);
    std::snprintf(line, sizeof line, "%-9d %-9s %-5d %-19s %6lld %6lld %10lld  ", entry.pid,
                  std::string(httpd::StateName(hello.state)).c_str(), hello.generation,
                  LocalTime(hello.started).c_str(), static_cast<long long>(status.connections),
                  static_cast<long long>(status.busy), static_cast<long long>(status.accesses));
    table += line + hello.binary + " (" + hello.version + ")\n";
  }
  auto more = Ordered();
  more.set("runtime_dir", config.runtime_dir.string());
  more.set("serving", serves);
  more.set("instances", instances);
  if (list.value().empty()) table = "no instance is running in " + config.runtime_dir.string() + "\n";
  if (const auto holder = CurrentHolder(config.runtime_dir)) {
    auto object = Ordered();
    object.set("pid", holder->pid);
    object.set("user", holder->user);
    object.set("command", holder->command);
    object.set("since", holder->since);
    object.set("step", holder->step);
    more.set("running", object);
    table += holder->command + " is running: process " + std::to_string(holder->pid) + " of user " + holder->user +
             " since " + LocalTime(holder->since) + ", step " + holder->step + "\n";
  }
  if (const std::string interrupted = InterruptedText(config.runtime_dir, clock); !interrupted.empty()) {
    more.set("interrupted", interrupted);
    table += interrupted + "\n";
  }
  table.pop_back();
  report.Event("status", table, more);
  return serves ? kExitDone : kExitFailed;
}

}  // namespace orchestrator
