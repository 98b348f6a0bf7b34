#include "httpd/process/command.h"
#include "httpd/modules/module.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>

#include "handover/listen_fds.h"
#include "handover/message.h"
#include "httpd/config/reader.h"
#include "httpd/config/reference.h"
#include "httpd/modules/handler.h"
#include "httpd/modules/module.h"
#include "httpd/modules/site.h"
#include "httpd/net/event_loop.h"
#include "httpd/process/load.h"
#include "httpd/process/parent.h"
#include "httpd/process/runtime_files.h"
#include "os/clock.h"
#include "os/pid_file.h"
#include "os/process.h"
#include "os/signals.h"
#include "os/socket.h"

namespace httpd::process {

using config::Options;

namespace {

void Say(const std::string& text) {
  std::fprintf(stderr, "%s\n", text.c_str());
}

void Print(const std::string& text) {
  std::fputs(text.c_str(), stdout);
  if (!text.empty() && text.back() != '\n') std::fputc('\n', stdout);
}

std::string Built() {
  return __DATE__ " " __TIME__;
}

int PrintVersion() {
  Print("Server version: " + std::string(modules::kProduct) + " (Unix)\nServer built:   " + Built());
  return 0;
}

int PrintBuild() {
  PrintVersion();
  Print(
      "Architecture:   " + std::to_string(sizeof(void*) * 8) +
      "-bit\nServer MPM:     event\n  threaded:     yes (variable thread count)\n    forked:     yes (variable process "
      "count)\nServer compiled with....\n -D HTTPD_ROOT=\"/usr/local/baton\"\n -D "
      "SERVER_CONFIG_FILE=\"conf/httpd.conf\"\n"
      " -D DEFAULT_PIDLOG=\"run/httpd.pid\"\n -D DEFAULT_ERRORLOG=\"logs/error_log\"");
  return 0;
}

int PrintModules(bool identifiers) {
  std::string out = identifiers ? "Loaded Modules:\n" : "Compiled in modules:\n";
  for (const config::ModuleName& module : config::BuiltInModules()) {
    out += identifiers ? " " + std::string(module.identifier) + " (static)\n" : "  " + std::string(module.file) + "\n";
  }
  Print(out);
  return 0;
}

void PrintWarnings(const Options& options, const Loaded& loaded) {
  if (options.startup_level.value_or(config::LogLevel::kWarn) < config::LogLevel::kWarn) return;  // -e error
  for (const std::string& warning : loaded.config.warnings) Say(warning);
}

/// A running instance as the PidFile and the control socket show it.
struct Running {
  pid_t pid = 0;
  std::string control;
};

const char* VerbName(Options::Verb verb) {
  switch (verb) {
    case Options::Verb::kStart:
      return "start";
    case Options::Verb::kStop:
      return "stop";
    case Options::Verb::kRestart:
      return "restart";
    case Options::Verb::kGraceful:
      return "graceful";
    case Options::Verb::kGracefulStop:
      return "graceful-stop";
  }
  return "?";
}

/// -k stop|restart|graceful|graceful-stop to a live parent: by the control socket when there is one and it is ours to
/// use, by the signal otherwise. Asynchronous as in Apache unless --wait.
int SignalServer(const Options& options, const Running& running) {
  auto process = os::ProcessHandle::Open(running.pid);
  if (!process)
    return 0;  // it ended in this moment: for stop that is what was wanted, for the others start is next time
  const bool leaves = options.verb == Options::Verb::kStop || options.verb == Options::Verb::kGracefulStop;
  auto control = os::ConnectUnix(running.control, SOCK_SEQPACKET);
  bool asked = false;
  if (control) {
    const handover::Message request(VerbName(options.verb));
    if (leaves) {
      auto answer = handover::Ask(control.value(), request);
      if (!answer) {
        Say("httpd: " + answer.error().what);
        return 1;
      }
      asked = true;
    } else if (options.wait) {
      auto answer = handover::Ask(control.value(), request, 600000);
      if (!answer) {
        Say("httpd: " + answer.error().what);
        return 1;
      }
      return 0;
    }
  }
  if (!asked) {
    int number = SIGTERM;
    if (options.verb == Options::Verb::kRestart) number = SIGHUP;
    if (options.verb == Options::Verb::kGraceful) number = SIGUSR1;
    if (options.verb == Options::Verb::kGracefulStop) number = SIGWINCH;
    if (auto sent = process.value().Signal(number); !sent) {
      Say("(" + std::to_string(sent.error().sys) + ")" + std::strerror(sent.error().sys) +
          ": AH00057: sending signal to server");
      return 1;
    }
    if (options.wait && !leaves) {
      Say("httpd: --wait needs the control socket " + running.control +
          ", which cannot be reached: " + control.error().Text());
      return 1;
    }
  }
  if (options.wait) process.value().WaitForEnd(-1);
  return 0;
}

/// -X: one process, one loop, in the foreground; SIGTERM and SIGINT end it.
int RunOneProcess(const Loaded& loaded, std::vector<handover::Listener> inherited) {
  const config::ServerConfig& c = loaded.config;
  ListenerList have;
  for (handover::Listener& listener : inherited) {
    have.push_back(std::make_shared<OpenListener>(OpenListener{listener.address, std::move(listener.fd)}));
  }
  auto listeners = OpenListeners(c.listen, have, SocketOptionsOf(c), !have.empty());
  if (!listeners) {
    Say(listeners.error().Text());
    return 1;
  }
  auto logs = log::LogSet::Open(c, c.server_root, 2);
  auto board = net::Scoreboard::Make();
  if (!logs || !board) {
    Say(!logs ? logs.error().Text() : board.error().Text());
    return 1;
  }
  auto site = modules::Site::Build(c, logs.value().get(), loaded.types);
  auto slot = board.value()->Claim(0, 0, static_cast<uint32_t>(c.max_request_workers));
  auto signals = os::SignalFd::Open({SIGTERM, SIGINT});
  if (!site || !slot || !signals) return 1;
  os::IgnoreSignal(SIGPIPE);
  board.value()->loop(slot.value()).pid = ::getpid();
  board.value()->header().start_time = ::time(nullptr);
  modules::Handler handler(*site.value(), *board.value());
  net::EventLoop::Setup setup;
  for (const auto& listener : listeners.value()) {
    setup.listeners.push_back({listener->fd.get(), listener->address.port(), false});
  }
  setup.slot = &board.value()->loop(slot.value());
  setup.max_busy = static_cast<uint32_t>(c.max_request_workers);
  setup.on_trouble = [](std::string_view text) { Say(std::string(text)); };
  net::EventLoop loop(std::move(setup), handler);
  if (auto opened = loop.Open(); !opened) {
    Say(opened.error().Text());
    return 1;
  }
  if (!loop.WatchForeign(signals.value().fd().get(), [&] {
        if (signals.value().Read()) loop.StopNow();
      })) {
    return 1;
  }
  loop.SetAccepting(true);
  if (auto wrote = os::WritePidFile(c.pid_file, ::getpid()); !wrote) Say("AH00099: " + wrote.error().Text());
  loop.Run();
  if (auto removed = os::RemovePidFile(c.pid_file, ::getpid()); !removed) Say(removed.error().Text());
  logs.value()->CloseWriteEnds();
  return 0;
}

/// Runs the parent here. `report` (-1 = none) gets one byte when it serves.
int RunParent(const Options& options, std::shared_ptr<const Loaded> loaded, std::vector<handover::Listener> inherited,
              int report) {
  os::SystemClock clock;
  Parent parent(options, loaded, std::move(inherited), clock, [report] {
    if (report < 0) return;
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
      ::dup2(null, 0);
      ::dup2(null, 1);
      ::close(null);
    }
    const char byte = '1';
    while (::write(report, &byte, 1) < 0 && errno == EINTR) {
    }
    ::close(report);
  });
  if (auto started = parent.Start(); !started) {
    Say(started.error().Text());
    return 1;
  }
  const int status = parent.Run();
  return status;
}

int Start(const Options& options, std::shared_ptr<const Loaded> loaded, std::vector<handover::Listener> inherited) {
  PrintWarnings(options, *loaded);
  if (auto ok = CheckSurroundings(*loaded); !ok) {
    Say(ok.error().Text());
    return 1;
  }
  if (options.one_process) return RunOneProcess(*loaded, std::move(inherited));
  if (options.foreground) return RunParent(options, std::move(loaded), std::move(inherited), -1);
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    Say(std::string("httpd: cannot make a pipe: ") + std::strerror(errno));
    return 1;
  }
  const os::Fd read_end(ends[0]);
  os::Fd write_end(ends[1]);
  if (options.no_detach) {
    ::setsid();
    return RunParent(options, std::move(loaded), std::move(inherited), write_end.Release());
  }
  const pid_t pid = ::fork();
  if (pid < 0) {
    Say(std::string("httpd: cannot fork: ") + std::strerror(errno));
    return 1;
  }
  if (pid == 0) {
    ::setsid();
    // The launcher's read end is CLOEXEC but not closed by fork; the parent closes what its children do not need.
    ::_exit(RunParent(options, std::move(loaded), std::move(inherited), write_end.Release()));
  }
  write_end.Reset();
  char byte = 0;
  ssize_t n;
  do {
    n = ::read(read_end.get(), &byte, 1);
  } while (n < 0 && errno == EINTR);
  if (n == 1) return 0;
  int status = 0;
  ::waitpid(pid, &status, 0);
  Say("httpd: the server did not start (it " + os::FromWaitStatus(status).Text() + "); what was wrong is above or in " +
      loaded->config.main.error_log.text);
  return 1;
}

int CheckOnly(const Options& options, const Loaded& loaded) {
  switch (options.action) {
    case Options::Action::kDumpHosts:
      Print(config::DumpHosts(loaded.config, AccountsOf(loaded.config)));
      return 0;
    case Options::Action::kDumpIncludes:
      Print(config::DumpIncludes(loaded.config));
      return 0;
    case Options::Action::kDumpConfig: {
      auto text = config::DumpConfig(RequestFor(options), RealFiles());
      if (!text) {
        Say(text.error().Text());
        return 1;
      }
      Print(text.value());
      break;  // Apache goes on to say Syntax OK
    }
    case Options::Action::kDumpRunConfig:
      Print(RunConfigJson(loaded));
      return 0;
    default:
      break;
  }
  PrintWarnings(options, loaded);
  if (auto ok = CheckSurroundings(loaded); !ok) {
    Say(ok.error().Text());
    return 1;
  }
  Say("Syntax OK");
  return 0;
}

}  // namespace

int RunCommand(const Options& options) {
  modules::RegisterModules();
  switch (options.action) {
    case Options::Action::kHelp:
      std::fputs(config::Usage(options.program).c_str(), stderr);
      return 1;
    case Options::Action::kVersion:
      return PrintVersion();
    case Options::Action::kBuild:
      return PrintBuild();
    case Options::Action::kModules:
      return PrintModules(false);
    case Options::Action::kDumpModules:
      return PrintModules(true);
    case Options::Action::kDirectives:
      Print(config::DumpDirectives());
      return 0;
    case Options::Action::kReference:
      Print(config::DirectiveReference());
      return 0;
    default:
      break;
  }
  if (!options.startup_log.empty()) {
    const int log = ::open(options.startup_log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (log < 0) {
      Say("httpd: cannot open " + options.startup_log + " (-E): " + std::strerror(errno));
      return 1;
    }
    ::dup2(log, 2);
    ::close(log);
  }
  auto inherited = handover::TakeListenFds();
  if (!inherited) {
    Say("httpd: " + inherited.error().what);
    return 1;
  }
  auto loaded = Load(options);
  const bool stops = options.action == Options::Action::kSignal &&
                     (options.verb == Options::Verb::kStop || options.verb == Options::Verb::kGracefulStop);
  os::SystemClock clock;
  std::string pid_file;
  std::string runtime_dir;
  if (loaded) {
    pid_file = loaded.value()->config.pid_file;
    runtime_dir = loaded.value()->config.runtime_dir;
  } else if (stops) {
    // A broken configuration must not keep a server from being stopped. What says where its files are may be intact.
    Say(loaded.error().Text());
    const auto places = config::ReadRuntimePlaces(RequestFor(options), RealFiles());
    runtime_dir = places ? places.value().runtime_dir : RequestFor(options).server_root + "/run";
    pid_file = places ? places.value().pid_file : runtime_dir + "/httpd.pid";
    Say("httpd: the configuration above cannot be read; looking for the server by " + pid_file);
  } else {
    Say(loaded.error().Text());
    return 1;
  }
  if (options.action != Options::Action::kRun && options.action != Options::Action::kSignal) {
    return CheckOnly(options, *loaded.value());
  }
  if (options.standby) return Start(options, loaded.value(), std::move(inherited).value());

  auto running = RunningServer(pid_file, runtime_dir, clock);
  if (!running) {
    Say(running.error().what);
    return 1;
  }
  const pid_t pid = running.value();
  if (options.action == Options::Action::kSignal) {
    if (pid != 0) return SignalServer(options, {pid, ControlPath(runtime_dir, pid)});
    if (stops) {
      auto stale = os::ReadPidFile(pid_file);
      Print(stale ? "httpd (pid " + std::to_string(stale.value()) + "?) not running"
                  : "httpd (no pid file) not running");
      return 0;
    }
    Print("httpd not running, trying to start");
  } else if (pid != 0) {
    Print("httpd (pid " + std::to_string(pid) + ") already running");
    return 0;
  }
  return Start(options, loaded.value(), std::move(inherited).value());
}

}  // namespace httpd::process
