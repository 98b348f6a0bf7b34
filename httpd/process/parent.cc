#include "httpd/process/parent.h"

#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "handover/cut_list.h"
#include "handover/instance_files.h"
#include "handover/readiness.h"
#include "httpd/modules/ssl_context.h"
#include "httpd/process/runtime_files.h"
#include "os/file.h"
#include "os/pid_file.h"
#include "os/socket.h"

namespace httpd::process {

using handover::Message;
using lifecycle::Action;
using lifecycle::Event;
using lifecycle::State;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

constexpr milliseconds kStopPatience(2000);  // between "stop" and SIGKILL
constexpr seconds kProgramPatience(10);      // for log programs to read to the end of their pipes
constexpr milliseconds kRespawnPause(1000);
constexpr size_t kMaxControls = 64;     // nobody honest has that many
constexpr seconds kSilencePatience(5);  // for the first message of a control connection
constexpr long long kMaxTimeout = 86400LL * 365;

int OnlineCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return std::max(1, CPU_COUNT(&set));
}

os::Result<Identity> ResolveIdentity(const config::ServerConfig& c) {
  Identity identity;
  if (::geteuid() != 0) return identity;  // whoever started us is who we are
  auto number = [](const std::string& text) -> std::optional<unsigned> {
    unsigned id = 0;
    const auto parsed = std::from_chars(text.data() + 1, text.data() + text.size(), id);
    return text.starts_with("#") && parsed.ec == std::errc() ? std::optional<unsigned>(id) : std::nullopt;
  };
  std::string user = c.user;
  if (user.empty()) user = ::getpwnam("www-data") ? "www-data" : "nobody";  // workers never run as root
  const passwd* entry = nullptr;
  if (const auto id = number(user)) {
    identity.uid = *id;
    entry = ::getpwuid(*id);
  } else {
    entry = ::getpwnam(user.c_str());
    if (!entry) return os::Error{os::ErrorKind::kNotFound, 0, "AH00543: httpd: bad user name " + user};
    identity.uid = entry->pw_uid;
  }
  if (*identity.uid == 0) return os::Error{os::ErrorKind::kDenied, 0, "User " + user + ": " + std::string(kNotAsRoot)};
  if (entry) {
    identity.user_name = entry->pw_name;
    identity.gid = entry->pw_gid;
  } else {
    identity.user_name = "nobody";
    identity.gid = *identity.uid;
  }
  if (!c.group.empty()) {
    if (const auto id = number(c.group)) {
      identity.gid = *id;
    } else if (const group* g = ::getgrnam(c.group.c_str())) {
      identity.gid = g->gr_gid;
    } else {
      return os::Error{os::ErrorKind::kNotFound, 0, "AH00544: httpd: bad group name " + c.group};
    }
  }
  return identity;
}

/// Children that a generation starts with.
int FirstChildren(const config::ServerConfig& c) {
  return std::min(c.start_servers > 0 ? c.start_servers : OnlineCores(), c.server_limit);
}

/// Connections that one child may hold: an answer from a file takes a second descriptor.
int MostConnections(const config::ServerConfig& c) {
  if (c.worker_connections > 0) return c.worker_connections;
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 2U << 20) return 1 << 20;
  return std::max(16, static_cast<int>(limit.rlim_cur / 2));
}

/// Most children that a generation may have: it grows only when spare workers are asked for.
int MostChildren(const config::ServerConfig& c) {
  const int first = FirstChildren(c);
  if (c.min_spare_threads <= 0) return first;
  return std::min(c.server_limit, std::max(first, c.max_request_workers / std::max(1, c.threads_per_child)));
}

/// What an instance hands out as `adopt`: one end of a pair of SOCK_SEQPACKET.
bool IsIntake(const os::Fd& fd) {
  int type = 0;
  int domain = 0;
  socklen_t length = sizeof type;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &type, &length) != 0) return false;
  length = sizeof domain;
  if (::getsockopt(fd.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0) return false;
  return type == SOCK_SEQPACKET && domain == AF_UNIX;
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
  }
}

}  // namespace

Parent::Parent(config::Options options, std::shared_ptr<const Loaded> loaded, std::vector<handover::Listener> inherited,
               os::Clock& clock, std::function<void()> on_ready)
    : options_(std::move(options)),
      first_config_(std::move(loaded)),
      inherited_(std::move(inherited)),
      clock_(clock),
      on_ready_(std::move(on_ready)),
      standby_(options_.standby) {}

Parent::~Parent() = default;

void Parent::Log(Level level, const std::string& text) const {
  // Pending first: while it starts, its log is the one that will stay.
  const Generation* generation = current_ ? current_.get() : pending_.get();
  if (generation) {
    generation->error_log->Write(level, "event", text);
  } else {
    log::ErrorLog(nullptr, Level::kNotice).Write(level, "event", text);
  }
}

std::vector<Parent::Generation*> Parent::Generations() const {
  std::vector<Generation*> out;
  for (const auto& generation : old_) out.push_back(generation.get());
  if (current_) out.push_back(current_.get());
  if (pending_) out.push_back(pending_.get());
  return out;
}

// ---------------------------------------------------------------------------------------------------- starting

os::Status Parent::Start() {
  own_pid_ = ::getpid();
  RaiseDescriptorLimit();
  const config::ServerConfig& c = first_config_->config;
  runtime_dir_ = c.runtime_dir;
  pid_file_ = c.pid_file;
  if (auto text = os::ReadFile("/proc/self/cmdline"); text) {
    for (char ch : text.value()) command_line_ += ch == '\0' ? ' ' : ch;
    while (!command_line_.empty() && command_line_.back() == ' ') command_line_.pop_back();
  }
  auto loop = os::PollLoop::Open(clock_);
  if (!loop) return loop.error();
  loop_ = std::move(loop).value();
  auto signals = os::SignalFd::Open({SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGWINCH, SIGCHLD});
  if (!signals) return signals.error();
  signals_ = std::make_unique<os::SignalFd>(std::move(signals).value());
  os::IgnoreSignal(SIGPIPE);
  os::IgnoreSignal(SIGXFSZ);
  if (auto watched = loop_->Watch(signals_->fd(), EPOLLIN, [this](uint32_t) { OnSignal(); }); !watched) return watched;

  if (standby_) WatchLauncher();
  auto lock = ClaimRuntimeDir(runtime_dir_, clock_);
  if (!lock) {
    return os::Error{
        lock.error().kind, lock.error().sys,
        "AH10505: cannot use the runtime directory " + runtime_dir_ + " (DefaultRuntimeDir): " + lock.error().what};
  }
  lock_ = std::move(lock).value();
  auto board = net::Scoreboard::Make();
  if (!board) return board.error();
  board_ = std::move(board).value();
  board_->header().start_time = std::chrono::system_clock::to_time_t(clock_.WallNow());

  ListenerList have;
  for (handover::Listener& listener : inherited_) {
    have.push_back(std::make_shared<OpenListener>(OpenListener{listener.address, std::move(listener.fd)}));
  }
  const bool inherited_only = !have.empty() || options_.standby;
  inherited_.clear();
  auto generation = Prepare(first_config_, have, inherited_only);
  if (!generation) {
    handover::RemoveInstanceFiles(runtime_dir_, own_pid_);
    return generation.error();
  }
  pending_ = std::move(generation).value();
  if (auto opened = OpenSockets(); !opened) {
    handover::RemoveInstanceFiles(runtime_dir_, own_pid_);
    return opened;
  }
  accepting_ = !standby_;
  if (auto started = StartChildren(*pending_); !started) {
    EndChildren("");
    handover::RemoveInstanceFiles(runtime_dir_, own_pid_);
    return started;
  }
  for (const std::string& warning : first_config_->config.warnings) Log(Level::kWarn, warning);
  for (const auto& open : have) {
    const auto& used = pending_->listeners;
    if (std::find(used.begin(), used.end(), open) == used.end()) {
      Log(Level::kNotice, "inherited listening socket " + open->address.Text() + " is wanted by no Listen: closed");
    }
  }
  loop_->At(clock_.SteadyNow() + seconds(1), [this] { Tick(); });
  return os::kDone;
}

/// Until the orchestrator says `hello OWNER=1`, its control connection cannot tell that it died: its process can.
void Parent::WatchLauncher() {
  auto launcher = os::ProcessHandle::Open(::getppid());
  if (!launcher) return;  // gone already: the readiness message finds nobody
  launcher_ = std::move(launcher).value();
  auto watched = loop_->Watch(launcher_.fd(), EPOLLIN, [this](uint32_t) {
    loop_->Unwatch(launcher_.fd());
    const bool owned = std::any_of(controls_.begin(), controls_.end(), [](const Control& c) { return c.is_owner; });
    if (!owned) LeaveStandby();  // an owner's end shows on its connection, after what it still sent there
  });
  if (!watched)
    Log(Level::kWarn, "cannot watch process " + std::to_string(launcher_.pid()) + ": " + watched.error().Text());
}

void Parent::LeaveStandby() {
  if (state_ == State::kServing && standby_) {
    // Told to accept by somebody who died before the answer: the old instance was never paused and serves on.
    Log(Level::kError, "the orchestrator died in the middle of the switch: leaving, clients that came here are served");
    drain_timeout_s_ = current_ ? current_->loaded->config.graceful_shutdown_timeout_s : 0;
    Fire(Event::kDrain);
    return;
  }
  if (state_ != State::kStandby && state_ != State::kStarting) return;
  Log(Level::kError, "the orchestrator that launched this standby instance is gone: leaving");
  Fire(Event::kOwnerGone);
}

os::Status Parent::OpenSockets() {
  auto intake = os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK);
  if (!intake) return intake.error();
  intake_read_ = std::move(intake.value().first);
  intake_write_ = std::move(intake.value().second);
  auto control = os::ListenUnix(ControlPath(runtime_dir_, own_pid_), SOCK_SEQPACKET, 0600);
  if (!control) return control.error();
  control_listener_ = std::move(control).value();
  auto http = os::ListenUnix(PrivatePath(runtime_dir_, own_pid_), SOCK_STREAM, 0600);
  if (!http) return http.error();
  private_listener_ = std::move(http).value();
  return loop_->Watch(control_listener_, EPOLLIN, [this](uint32_t) { OnControlConnection(); });
}

os::Result<std::unique_ptr<Parent::Generation>> Parent::Prepare(std::shared_ptr<const Loaded> loaded,
                                                                const ListenerList& have, bool inherited_only) {
  auto generation = std::make_unique<Generation>();
  generation->loaded = std::move(loaded);
  const config::ServerConfig& c = generation->loaded->config;
  auto identity = ResolveIdentity(c);
  if (!identity) return identity.error();
  generation->identity = identity.value();
  auto listeners = OpenListeners(c.listen, have, SocketOptionsOf(c), inherited_only);
  // A parent that was killed leaves children that close the port in a moment; only then is waiting right.
  const auto deadline = clock_.SteadyNow() + milliseconds(1500);
  while (!listeners && listeners.error().kind == os::ErrorKind::kBusy && clock_.SteadyNow() < deadline) {
    bool orphans = false;
    if (auto names = os::ListDirectory(runtime_dir_); names) {
      for (const std::string& name : names.value()) {
        const pid_t pid = PidOfLock(name);
        orphans = orphans || (pid != 0 && pid != own_pid_ && !os::Identify(pid));
      }
    }
    if (!orphans) break;
    clock_.Sleep(milliseconds(10));
    listeners = OpenListeners(c.listen, have, SocketOptionsOf(c), inherited_only);
  }
  if (!listeners) return listeners.error();
  generation->listeners = std::move(listeners).value();
  auto logs = log::LogSet::Open(c, c.server_root, options_.foreground && !options_.standby ? 2 : -1);
  if (!logs) return logs.error();
  generation->logs = std::move(logs).value();
  auto site = modules::Site::Build(c, generation->logs.get(), generation->loaded->types);
  if (!site) return site.error();
  generation->site = std::move(site).value();
  generation->error_log = std::make_unique<log::ErrorLog>(generation->logs->Find(c.main.error_log), c.main);
  if (c.wants_secret) {
    if (auto secret = SharedSecret(runtime_dir_)) {
      generation->site->set_secret(std::move(secret).value());
    } else {
      generation->error_log->Write(config::LogLevel::kWarn, "core",
                                   "what this instance signs will be unknown to the next: " + secret.error().Text());
    }
  }
  if (generation->site->ssl()) {
    if (!ticket_keys_) {
      auto made = modules::TicketKeys::Make(static_cast<uint64_t>(WallSeconds()));
      if (!made) return made.error();
      ticket_keys_ = std::move(made).value();
      RefreshTicketKeys(*generation->error_log);
    }
    generation->site->ssl()->set_keys(ticket_keys_);
    if (modules::Stapling& stapling = generation->site->ssl()->stapling(); !stapling.empty()) {
      if (!stapling_) {
        auto made = modules::StaplingStore::Make();
        if (!made) return made.error();
        stapling_ = std::move(made).value();
      }
      stapling.set_store(stapling_);
      RefreshStapling(*generation->error_log);
    }
  }
  return generation;
}

int64_t Parent::WallSeconds() const {
  return std::chrono::system_clock::to_time_t(clock_.WallNow());
}

void Parent::RefreshTicketKeys(const log::ErrorLog& error_log) {
  auto done = ticket_keys_->Refresh(runtime_dir_ + "/httpd.tickets", static_cast<uint64_t>(WallSeconds()));
  const std::string trouble = done ? "" : done.error().Text();
  if (trouble != ticket_trouble_ && !trouble.empty()) {
    error_log.Write(Level::kWarn, "ssl", "TLS sessions of this instance will be unknown to the next: " + trouble);
  }
  ticket_trouble_ = trouble;
}

void Parent::RefreshStapling(const log::ErrorLog& error_log) {
  auto done = stapling_->Refresh(runtime_dir_ + "/httpd.stapling", WallSeconds());
  const std::string trouble = done ? "" : done.error().Text();
  if (trouble != stapling_trouble_ && !trouble.empty()) {
    error_log.Write(Level::kWarn, "ssl", "the next instance will have to ask what to staple: " + trouble);
  }
  stapling_trouble_ = trouble;
}

os::Status Parent::StartChildren(Generation& generation) {
  const config::ServerConfig& c = generation.loaded->config;
  generation.number = next_generation_++;
  for (int i = 0; i < FirstChildren(c); ++i) {
    if (auto started = StartChild(generation, 0); !started) return started;
  }
  return os::kDone;
}

os::Status Parent::StartChild(Generation& generation, int replaces) {
  const config::ServerConfig& c = generation.loaded->config;
  const int children = MostChildren(c);
  auto channel = os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK);
  if (!channel) return channel.error();
  ChildSetup setup;
  uint32_t number = 0;
  while (std::any_of(generation.children.begin(), generation.children.end(),
                     [number](const ChildProcess& child) { return child.number == number; })) {
    ++number;
  }
  const int loops = std::max(1, c.threads_per_child);
  setup.max_busy_per_loop = static_cast<uint32_t>(std::max(1, c.max_request_workers / (children * loops)));
  setup.max_held_per_loop = static_cast<size_t>(std::max(1, MostConnections(c) / loops));
  if (c.max_connections_per_child > 0) {
    setup.max_connections_per_loop = static_cast<uint64_t>(std::max(1, c.max_connections_per_child / loops));
  }
  for (int i = 0; i < loops; ++i) {
    auto slot = board_->Claim(number, generation.number, setup.max_busy_per_loop);
    if (!slot) {
      for (const size_t taken : setup.slots) board_->Release(taken);
      return slot.error();
    }
    setup.slots.push_back(slot.value());
  }
  setup.site = generation.site.get();
  setup.board = board_.get();
  setup.error_log = generation.error_log.get();
  for (const auto& listener : generation.listeners) {
    setup.listeners.push_back({listener->fd.get(), listener->address.port(), false});
  }
  setup.listeners.push_back({private_listener_.get(), 0, true});
  setup.intake_read = intake_read_.get();
  setup.intake_write = intake_write_.get();
  const log::LogSink* errors = generation.logs->Find(c.main.error_log);
  if (errors && !errors->syslog) setup.error_fd = errors->fd.get();
  setup.keep = generation.logs->Descriptors();
  setup.keep.push_back(lock_.fd().get());
  setup.identity = generation.identity;
  setup.working_directory = c.core_dump_directory;
  setup.accepting = accepting_;

  const pid_t pid = ::fork();
  if (pid < 0) {
    const int sys = errno;
    for (const size_t slot : setup.slots) board_->Release(slot);
    return os::SysError(sys, "AH00481: fork: Unable to fork new process");
  }
  if (pid == 0) {
    setup.channel = std::move(channel.value().second);
    for (const size_t slot : setup.slots) board_->loop(slot).pid = ::getpid();
    ::_exit(RunChild(std::move(setup)));
  }
  for (const size_t slot : setup.slots) board_->loop(slot).pid = pid;
  ChildProcess child;
  child.pid = pid;
  child.number = number;
  child.channel = std::move(channel.value().first);
  child.slots = setup.slots;
  child.replaces = replaces;
  child.accepting = accepting_;
  child.started = clock_.SteadyNow();
  generation.children.push_back(std::move(child));
  return loop_->Watch(generation.children.back().channel, EPOLLIN, [this, pid](uint32_t) { OnChildMessage(pid); });
}

// ---------------------------------------------------------------------------------------------------- children

void Parent::TellChild(ChildProcess& child, const Message& message) {
  const os::Status sent = handover::Send(child.channel, message);
  if (!sent && sent.error().sys != EPIPE && sent.error().sys != ECONNRESET) {
    Log(Level::kError, "cannot tell child " + std::to_string(child.pid) + " to " + message.verb + ": " +
                           sent.error().Text() + "; it is ended");
    ::kill(child.pid, SIGKILL);  // one that does not listen must not stay; its pid is ours until we reap it
  }
}

Parent::ChildProcess* Parent::FindChild(pid_t pid, Generation** owner) {
  for (Generation* generation : Generations()) {
    for (ChildProcess& child : generation->children) {
      if (child.pid != pid) continue;
      if (owner) *owner = generation;
      return &child;
    }
  }
  return nullptr;
}

void Parent::OnChildMessage(pid_t pid) {
  Generation* generation = nullptr;
  ChildProcess* child = FindChild(pid, &generation);
  if (!child) return;
  auto message = handover::Receive(child->channel);
  if (!message) {
    if (message.error().kind == os::ErrorKind::kNotFound || message.error().kind == os::ErrorKind::kIo) {
      loop_->Unwatch(child->channel);  // it is ending; SIGCHLD tells the rest
    }
    return;
  }
  if (message.value().verb == "ready") {
    child->ready = true;
    early_deaths_ = 0;
    if (child->accepting != accepting_) SetAccepting(accepting_);
    if (child->replaces != 0) {
      if (ChildProcess* tired = FindChild(child->replaces, nullptr)) {
        Message drain("drain");
        drain.Add("PASS", "own").Add("INTAKE", "0").Add("PRIVATE", "0");
        tired->leaving = true;
        TellChild(*tired, drain);
      }
      child->replaces = 0;
    }
    const bool leaving = state_ == State::kStopping || state_ == State::kDraining;
    if (generation == pending_.get() && !leaving &&
        std::all_of(generation->children.begin(), generation->children.end(),
                    [](const ChildProcess& c) { return c.ready; })) {
      Promote();
    }
  } else if (message.value().verb == "accepting") {
    child->accepting = message.value().GetNumber("ON").value_or(0) != 0;
    AnswerAccept();
  } else if (message.value().verb == "recycle" && generation == current_.get() && !child->leaving &&
             (state_ == State::kServing || state_ == State::kPaused) &&
             std::none_of(generation->children.begin(), generation->children.end(),
                          [pid](const ChildProcess& c) { return c.replaces == pid; })) {  // each of its loops asks
    if (auto started = StartChild(*current_, child->pid); !started) Log(Level::kError, started.error().Text());
  }
}

void Parent::OnChildEnds() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) break;
    const os::ExitStatus how = os::FromWaitStatus(status);
    if (OnProgramEnded(pid, how)) continue;
    for (Generation* generation : Generations()) {
      const auto child = std::find_if(generation->children.begin(), generation->children.end(),
                                      [pid](const ChildProcess& c) { return c.pid == pid; });
      if (child == generation->children.end()) continue;
      OnChildEnded(*generation, child, how);
      break;
    }
  }
  CheckGone();
}

void Parent::OnChildEnded(Generation& generation, std::list<ChildProcess>::iterator child, os::ExitStatus status) {
  const bool expected = child->leaving;
  const bool was_ready = child->ready;
  const pid_t pid = child->pid;
  const int replaces = child->replaces;
  loop_->Unwatch(child->channel);
  for (const size_t slot : child->slots) board_->Release(slot);
  generation.children.erase(child);
  if (stapling_) stapling_->EndClaims();
  if (status.signaled && !(expected && status.code == SIGKILL)) {
    Log(Level::kNotice, std::string("AH00052: child pid ") + std::to_string(pid) + " exit signal " +
                            (::strsignal(status.code) ? ::strsignal(status.code) : "?") + " (" +
                            std::to_string(status.code) + ")");
  }
  if (expected) return;
  if (&generation == pending_.get() && !was_ready) {
    AbandonPending("child " + std::to_string(pid) + " " + status.Text() + " before it was ready");
    return;
  }
  if (&generation != current_.get() && &generation != pending_.get()) return;
  if (!was_ready && ++early_deaths_ >= 3) {
    Log(Level::kAlert, "AH10392: children are ending before they are ready; the next is started in one second");
    no_respawn_before_ = clock_.SteadyNow() + kRespawnPause;
    return;
  }
  const auto replacement = std::find_if(generation.children.begin(), generation.children.end(),
                                        [pid](const ChildProcess& c) { return c.replaces == pid; });
  if (replacement != generation.children.end()) {
    replacement->replaces = 0;  // it is on its way already
  } else if (state_ == State::kServing || state_ == State::kPaused || state_ == State::kStandby) {
    if (auto started = StartChild(generation, replaces); !started) {
      Log(Level::kError, started.error().Text());
      no_respawn_before_ = clock_.SteadyNow() + kRespawnPause;
    }
  }
  AnswerAccept();
}

bool Parent::OnProgramEnded(pid_t pid, os::ExitStatus status) {
  for (auto program = leaving_programs_.begin(); program != leaving_programs_.end(); ++program) {
    if (program->process.pid() != pid) continue;
    leaving_programs_.erase(program);
    return true;
  }
  for (Generation* generation : Generations()) {
    for (log::LogProgram& program : generation->logs->programs()) {
      if (program.process.pid() != pid) continue;
      Log(Level::kError,
          "AH00106: piped log program '" + program.target.text + "' failed unexpectedly (it " + status.Text() + ")");
      program.process = {};
      // At once when it had lived, after a second when it dies at start: Tick() looks again.
      if (clock_.SteadyNow() - program.started > kRespawnPause) {
        if (auto started = generation->logs->Start(program); !started) Log(Level::kError, started.error().Text());
      }
      return true;
    }
  }
  return false;
}

void Parent::Tick() {
  if (exiting_) return;
  loop_->At(clock_.SteadyNow() + seconds(1), [this] { Tick(); });
  if (leftovers_) leftovers_ = !RemoveLeftovers(runtime_dir_, clock_);
  DropSilentControls();
  if (ticket_keys_ && current_) RefreshTicketKeys(*current_->error_log);
  if (stapling_ && current_) RefreshStapling(*current_->error_log);
  if (const uint64_t more = control_troubles_.TakeSuppressed(clock_.SteadyNow()); more > 0) {
    Log(Level::kWarn, "control connections: " + std::to_string(more) + " more refusals were not logged one by one");
  }
  for (Generation* generation : Generations()) {
    for (log::LogProgram& program : generation->logs->programs()) {
      if (program.process.valid() || clock_.SteadyNow() - program.started < kRespawnPause) continue;
      program.started = clock_.SteadyNow();
      if (auto started = generation->logs->Start(program); !started) Log(Level::kError, started.error().Text());
    }
  }
  if (current_ && (state_ == State::kServing || state_ == State::kPaused || state_ == State::kStandby) &&
      !replace_with_ && clock_.SteadyNow() >= no_respawn_before_) {
    int present = 0;
    for (const ChildProcess& child : current_->children) present += child.leaving ? 0 : 1;
    for (const int wanted = present + MissingChildren(present); present < wanted; ++present) {
      if (auto started = StartChild(*current_, 0); !started) {
        Log(Level::kError, started.error().Text());
        break;
      }
    }
  }
}

int Parent::MissingChildren(int present) {
  const config::ServerConfig& c = current_->loaded->config;
  const int first = FirstChildren(c);
  if (present < first) return first - present;
  if (c.min_spare_threads <= 0) return 0;
  int idle = 0;
  ChildProcess* quietest = nullptr;
  uint32_t quietest_connections = 0;
  const int per_loop = std::max(1, c.max_request_workers / (MostChildren(c) * std::max(1, c.threads_per_child)));
  for (ChildProcess& child : current_->children) {
    if (child.leaving) continue;
    uint32_t connections = 0;
    for (const size_t slot : child.slots) {
      const net::LoopCounters& counters = board_->loop(slot).counters;
      idle += std::max(0, per_loop - static_cast<int>(counters.busy.load()));
      connections += counters.connections.load();
    }
    if (!quietest || connections < quietest_connections) {
      quietest = &child;
      quietest_connections = connections;
    }
  }
  if (idle < c.min_spare_threads) {
    const int missing = std::min(spawn_rate_, MostChildren(c) - present);
    spawn_rate_ = std::min(spawn_rate_ * 2, 32);  // Apache's 1, 2, 4, ... 32 a second
    if (missing == 0 && !said_full_) {
      said_full_ = true;
      Log(Level::kError,
          "AH00484: server reached MaxRequestWorkers setting, consider raising the MaxRequestWorkers setting");
    }
    return missing;
  }
  spawn_rate_ = 1;
  const int most_idle = std::max(c.max_spare_threads, c.min_spare_threads + per_loop * c.threads_per_child + 1);
  if (c.max_spare_threads > 0 && idle > most_idle && present > first && quietest && quietest->ready) {
    quietest->leaving = true;
    TellChild(*quietest, std::move(Message("drain").Add("PASS", "own").Add("INTAKE", "0").Add("PRIVATE", "0")));
  }
  return 0;
}

void Parent::Retire(std::unique_ptr<Generation> generation) {
  loop_->Cancel(generation->deadline);
  for (log::LogProgram& program : generation->logs->programs()) {
    int waiting = 0;
    if (program.process.valid() || ::ioctl(program.read_end.get(), FIONREAD, &waiting) != 0 || waiting == 0) continue;
    // It died, and lines are still in its pipe: another one reads them, then the end.
    if (auto started = generation->logs->Start(program); !started) Log(Level::kError, started.error().Text());
  }
  generation->logs->CloseWriteEnds();
  auto& programs = generation->logs->programs();
  for (auto program = programs.begin(); program != programs.end();) {
    auto next = std::next(program);
    if (program->process.valid()) {
      leaving_programs_.splice(leaving_programs_.end(), programs, program);
    }
    program = next;
  }
}

void Parent::CheckGone() {
  for (auto generation = old_.begin(); generation != old_.end();) {
    if (!(*generation)->children.empty()) {
      ++generation;
      continue;
    }
    Retire(std::move(*generation));
    generation = old_.erase(generation);
  }
  if (state_ == State::kStopping || state_ == State::kDraining) replace_with_.reset();
  if (replace_with_ && old_.empty() && (!current_ || current_->children.empty())) FinishReplace();
  const bool children = std::any_of(old_.begin(), old_.end(), [](const auto& g) { return !g->children.empty(); }) ||
                        (current_ && !current_->children.empty()) || (pending_ && !pending_->children.empty());
  if (!children && (state_ == State::kDraining || state_ == State::kStopping)) Fire(Event::kChildrenGone);
}

// ---------------------------------------------------------------------------------------------------- moving

void Parent::Fire(Event event) {
  const lifecycle::Row row = lifecycle::Next(state_, event);
  if (row.action == Action::kIgnore) {
    Log(Level::kInfo, std::string("a request that has no meaning while ") + Name(state_) + " was ignored");
    return;
  }
  state_before_ = state_;
  state_ = row.to;
  if (event == Event::kReady && standby_) state_ = State::kStandby;
  board_->header().state = static_cast<uint32_t>(state_);
  Perform(row.action);
}

void Parent::Perform(Action action) {
  switch (action) {
    case Action::kIgnore:
      break;
    case Action::kAnnounceReady:
      AnnounceReady();
      break;
    case Action::kStartAccepting:
      SetAccepting(true);
      break;
    case Action::kStopAccepting:
      SetAccepting(false);
      break;
    case Action::kNewGeneration:
      NewGeneration();
      break;
    case Action::kReplaceChildren:
      ReplaceChildren();
      break;
    case Action::kBeginDrain:
      BeginDrain();
      break;
    case Action::kEndChildren:
      EndChildren(state_before_ == State::kDraining ? "" : "AH00491: caught SIGTERM, shutting down");
      break;
    case Action::kKillChildren:
      KillChildren();
      break;
    case Action::kExit:
      FinishExit();
      break;
  }
}

void Parent::AnnounceReady() {
  if (!standby_) {
    if (auto old = os::ReadPidFile(pid_file_); old && old.value() != own_pid_) {
      Log(Level::kWarn, "AH00098: pid file " + pid_file_ + " overwritten -- Unclean shutdown of previous Apache run?");
    }
    if (auto wrote = os::WritePidFile(pid_file_, own_pid_); !wrote) {
      Log(Level::kError, "AH00099: could not create " + pid_file_ + ": " + wrote.error().Text());
      Log(Level::kError, "AH00100: httpd: could not log pid to file " + pid_file_);
    }
  }
  Log(Level::kNotice, "AH00489: " + current_->site->server_name() +
                          (standby_ ? " configured -- standing by" : " configured -- resuming normal operations"));
  Log(Level::kNotice, "AH00094: Command line: '" + command_line_ + "'");
  auto told = handover::Notify("READY=1\nSTATUS=Processing requests...\nMAINPID=" + std::to_string(own_pid_) + "\n");
  if (!told) Log(Level::kError, "cannot say that the server is ready: " + told.error().Text());
  if (standby_) ::unsetenv("NOTIFY_SOCKET");  // it was the orchestrator's, for this one message
  if (standby_ && !told) loop_->At(clock_.SteadyNow(), [this] { LeaveStandby(); });  // nobody waits for us
  // Apache's way: what anything writes to stderr from now on is in the error log.
  const log::LogSink* sink = current_->logs->Find(current_->loaded->config.main.error_log);
  if (sink && !sink->syslog && !options_.one_process) ::dup2(sink->fd.get(), 2);
  if (on_ready_) std::exchange(on_ready_, {})();
}

void Parent::SetAccepting(bool on) {
  accepting_ = on;
  for (Generation* generation : {current_.get(), pending_.get()}) {
    if (!generation) continue;
    for (ChildProcess& child : generation->children) {
      if (!child.leaving) TellChild(child, std::move(Message("accept").Add("ON", on ? "1" : "0")));
    }
  }
  AnswerAccept();
}

void Parent::AnswerAccept() {
  const bool waiting = std::any_of(controls_.begin(), controls_.end(), [](const Control& c) { return c.wants_accept; });
  if (!waiting || !current_) return;
  for (const Generation* generation : {current_.get(), pending_.get()}) {
    if (!generation) continue;
    for (const ChildProcess& child : generation->children) {
      if (!child.leaving && child.accepting != accepting_) return;
    }
  }
  Message answer("ok");
  if (accepting_) {
    if (auto wrote = os::WritePidFile(pid_file_, own_pid_); !wrote) {
      answer = handover::Refusal("cannot write the PidFile: " + wrote.error().Text());
    }
    standby_ = false;
    BecomeMainProcess();
  }
  for (Control& control : controls_) {
    if (!control.wants_accept) continue;
    control.wants_accept = false;
    const Message superseded = handover::Refusal("superseded by another request");
    auto sent = handover::Send(control.fd, control.accept_on == accepting_ ? answer : superseded);
    if (!sent) Log(Level::kWarn, "control connection: " + sent.error().Text());
  }
}

void Parent::BecomeMainProcess() {
  // A service manager follows one process. Who takes over says so, and so does who takes back after a rollback.
  const char* manager = std::getenv("BATON_NOTIFY_SOCKET");
  if (manager && *manager) ::setenv("NOTIFY_SOCKET", manager, 1);
  auto told = handover::Notify("MAINPID=" + std::to_string(own_pid_) + "\nREADY=1\nSTATUS=Processing requests...\n");
  if (!told) Log(Level::kWarn, "cannot tell the service manager that this is its main process: " + told.error().Text());
}

void Parent::AnswerRestart(const os::Status& outcome) {
  for (Control& control : controls_) {
    if (!control.wants_restart) continue;
    control.wants_restart = false;
    Message answer = outcome ? Message("ok") : handover::Refusal(outcome.error().Text());
    if (outcome && current_) answer.Add("GENERATION", std::to_string(current_->number));
    auto sent = handover::Send(control.fd, answer);
    if (!sent) Log(Level::kWarn, "control connection: " + sent.error().Text());
  }
}

void Parent::NewGeneration() {
  if (pending_ || replace_with_) {
    graceful_again_ = true;  // what is being read now may be older than what was just asked for
    return;
  }
  Log(Level::kNotice, "AH00493: SIGUSR1 received.  Doing graceful restart");
  auto told = handover::Notify(
      "RELOADING=1\nMONOTONIC_USEC=" +
      std::to_string(
          std::chrono::duration_cast<std::chrono::microseconds>(clock_.SteadyNow().time_since_epoch()).count()) +
      "\nSTATUS=Reading configuration...\n");
  if (!told) Log(Level::kWarn, told.error().Text());
  auto fail = [this](const os::Error& error) {
    Log(Level::kError, error.what + (error.sys ? ": " + std::string(std::strerror(error.sys)) : ""));
    Log(Level::kError, "graceful restart refused: the configuration above; the server goes on unchanged");
    auto again = handover::Notify("READY=1\nSTATUS=Processing requests...\n");
    if (!again) Log(Level::kWarn, again.error().Text());
    AnswerRestart(error);
  };
  auto loaded = Load(options_);
  if (!loaded) return fail(loaded.error());
  if (loaded.value()->config.runtime_dir != runtime_dir_ || loaded.value()->config.pid_file != pid_file_) {
    return fail(os::Error{
        os::ErrorKind::kInvalid, 0,
        "DefaultRuntimeDir and PidFile cannot change in a running instance; use an upgrade or a stop and start"});
  }
  auto generation = Prepare(loaded.value(), current_->listeners, false);
  if (!generation) return fail(generation.error());
  pending_ = std::move(generation).value();
  if (auto started = StartChildren(*pending_); !started) AbandonPending(started.error().Text());
}

void Parent::AbandonPending(const std::string& why) {
  const bool first = state_ == State::kStarting;
  Log(Level::kError, why);
  if (!first && !current_) {
    // After HUP there is nothing to fall back to: this generation serves with the children that it has, the rest
    // follow.
    no_respawn_before_ = clock_.SteadyNow() + kRespawnPause;
    Promote();
    return;
  }
  for (ChildProcess& child : pending_->children) {
    child.leaving = true;
    TellChild(child, Message("stop"));
  }
  if (first) {
    exit_status_ = 1;
    Fire(Event::kStartFailed);
    return;
  }
  Log(Level::kError, "graceful restart given up; the server goes on with the generation it has");
  auto told = handover::Notify("READY=1\nSTATUS=Processing requests...\n");
  if (!told) Log(Level::kWarn, told.error().Text());
  old_.push_back(std::move(pending_));
  AnswerRestart(os::Error{os::ErrorKind::kIo, 0, why});
  CheckGone();
  if (std::exchange(graceful_again_, false)) Fire(Event::kGraceful);
}

void Parent::Promote() {
  std::unique_ptr<Generation> before = std::move(current_);
  current_ = std::move(pending_);
  board_->header().generation = current_->number;
  board_->header().config_generation = current_->number + 1;
  PublishConfig();
  if (state_ == State::kStarting) {
    Fire(Event::kReady);
    return;
  }
  // The new generation accepts already; now the old one is advised to leave.
  if (before) {
    before->listeners.clear();
    DrainChildren(*before, "own", false, false);
    const int limit = current_->loaded->config.graceful_restart_timeout_s;
    if (limit > 0) {
      const uint32_t number = before->number;
      before->deadline = loop_->At(clock_.SteadyNow() + seconds(limit), [this, number, limit] {
        for (const auto& generation : old_) {
          if (generation->number != number) continue;
          Log(Level::kNotice, "GracefulRestartTimeout (" + std::to_string(limit) + " s) reached: generation " +
                                  std::to_string(number) + " is ended, its requests in progress are cut");
          for (ChildProcess& child : generation->children) TellChild(child, std::move(Message("stop").Add("CUT", "1")));
        }
      });
    }
    old_.push_back(std::move(before));
  }
  for (const std::string& warning : current_->loaded->config.warnings) Log(Level::kWarn, warning);
  Log(Level::kNotice, "AH00489: " + current_->site->server_name() + " configured -- resuming normal operations");
  Log(Level::kNotice, "AH00094: Command line: '" + command_line_ + "'");
  const log::LogSink* sink = current_->logs->Find(current_->loaded->config.main.error_log);
  if (sink && !sink->syslog && !options_.one_process) ::dup2(sink->fd.get(), 2);
  auto told = handover::Notify("READY=1\nSTATUS=Processing requests...\n");
  if (!told) Log(Level::kWarn, told.error().Text());
  AnswerRestart(os::kDone);
  CheckGone();
  if (graceful_again_) {
    graceful_again_ = false;
    Fire(Event::kGraceful);
  }
}

void Parent::PublishConfig() {
  const config::ServerConfig& c = current_->loaded->config;
  auto written = c.flattened.empty() ? os::Status(os::Error{os::ErrorKind::kInvalid, 0, c.not_flattened})
                                     : WriteEffectiveConfig(runtime_dir_, own_pid_,
                                                            "# fingerprint: " + Fingerprint(c) + "\n" + c.flattened);
  if (written) return;
  Log(Level::kWarn,
      "the configuration that runs cannot be written down, so an upgrade cannot keep it for the way back: " +
          written.error().Text());
}

void Parent::DrainChildren(Generation& generation, const std::string& pass, bool intake, bool is_private) {
  for (ChildProcess& child : generation.children) {
    Message drain("drain");
    drain.Add("PASS", pass).Add("INTAKE", intake ? "1" : "0").Add("PRIVATE", is_private ? "1" : "0");
    if (pass == "descriptor") drain.descriptors.push_back(successor_.Duplicate());
    child.leaving = true;
    TellChild(child, drain);
  }
}

void Parent::ReplaceChildren() {
  if (replace_with_) return;
  Log(Level::kNotice, "AH00494: SIGHUP received.  Attempting to restart");
  auto loaded = Load(options_);
  if (!loaded) {
    Log(Level::kError, loaded.error().what);
    Log(Level::kError, "restart refused: the configuration above; the server goes on unchanged");
    AnswerRestart(loaded.error());
    return;
  }
  // Logs and listeners are tried while the old children still serve: a restart that cannot work must not end them.
  auto trial = Prepare(loaded.value(), current_->listeners, false);
  if (!trial) {
    Log(Level::kError, trial.error().Text());
    Log(Level::kError, "restart refused; the server goes on unchanged");
    AnswerRestart(trial.error());
    return;
  }
  if (pending_) {
    for (ChildProcess& child : pending_->children) child.leaving = true;
    old_.push_back(std::move(pending_));
  }
  replace_with_ = loaded.value();
  pending_ = std::move(trial).value();  // prepared; its children start when the others are gone
  for (Generation* generation : Generations()) {
    for (ChildProcess& child : generation->children) {
      child.leaving = true;
      TellChild(child, Message("stop"));
    }
  }
  deadline_ = loop_->At(clock_.SteadyNow() + kStopPatience, [this] {
    for (Generation* generation : Generations()) {
      for (ChildProcess& child : generation->children) ::kill(child.pid, SIGKILL);
    }
  });
  CheckGone();
}

void Parent::FinishReplace() {
  loop_->Cancel(deadline_);
  replace_with_.reset();
  if (current_) {
    current_->listeners.clear();
    Retire(std::exchange(current_, nullptr));
  }
  board_->ResetStatistics();
  board_->header().start_time = std::chrono::system_clock::to_time_t(clock_.WallNow());
  if (auto started = StartChildren(*pending_); !started) {
    Log(Level::kAlert, started.error().Text() + "; trying again every second");
    no_respawn_before_ = clock_.SteadyNow() + kRespawnPause;
    Promote();  // as it is: Tick() completes it
  }
}

void Parent::PassCounters() {
  if (!successor_.valid()) return;
  const net::Totals now = board_->Sum(0);
  Message message("adopt");
  message.Add("ACCESSES", std::to_string(now.accesses - passed_on_.accesses))
      .Add("BYTES", std::to_string(now.bytes - passed_on_.bytes))
      .Add("DURATION_US", std::to_string(now.duration_us - passed_on_.duration_us))
      .Add("ERRORS", std::to_string(now.errors - passed_on_.errors))
      .Add("ACCEPTED", std::to_string(now.accepted - passed_on_.accepted))
      .Add("START", std::to_string(board_->header().start_time.load()));
  if (auto sent = handover::Send(successor_, message)) {
    passed_on_ = now;
  } else {
    Log(Level::kInfo, "statistics were not handed over: " + sent.error().Text());
  }
}

void Parent::BeginDrain() {
  if (!successor_.valid()) Log(Level::kNotice, "AH00492: caught SIGWINCH, shutting down gracefully");
  // The service stops only when the instance that serves does: one that was replaced leaves without a word.
  if (state_before_ == State::kServing && !successor_.valid()) {
    std::string text = "STOPPING=1\nSTATUS=Finishing requests in progress...\n";
    // Our deadline is the configuration's word; with none, the service manager's own limit stands.
    const auto needed = seconds(drain_timeout_s_) + kStopPatience + kProgramPatience + seconds(1);
    if (drain_timeout_s_ > 0) {
      text += "EXTEND_TIMEOUT_USEC=" + std::to_string(std::chrono::microseconds(needed).count()) + "\n";
    }
    auto told = handover::Notify(text);
    if (!told) Log(Level::kWarn, told.error().Text());
  }
  if (pending_) {
    for (ChildProcess& child : pending_->children) {
      child.leaving = true;
      TellChild(child, Message("stop"));
    }
    old_.push_back(std::move(pending_));
  }
  AnswerRestart(os::Error{os::ErrorKind::kBusy, 0, "the instance is leaving"});
  for (Generation* generation : Generations()) generation->listeners.clear();
  if (auto removed = os::RemovePidFile(pid_file_, own_pid_); !removed) Log(Level::kError, removed.error().Text());
  const std::string pass = successor_.valid() ? "descriptor" : "none";
  for (const auto& generation : old_) DrainChildren(*generation, pass, false, false);
  if (current_) DrainChildren(*current_, pass, true, true);
  PassCounters();
  intake_write_.Reset();  // its reader sees the end when the last who could send has let go
  if (drain_timeout_s_ > 0) {
    deadline_ = loop_->At(clock_.SteadyNow() + seconds(drain_timeout_s_), [this] {
      const auto now = std::chrono::duration_cast<milliseconds>(clock_.SteadyNow().time_since_epoch()).count();
      const net::Totals totals = board_->Sum(static_cast<uint64_t>(now));
      Log(Level::kNotice, "GracefulShutdownTimeout (" + std::to_string(drain_timeout_s_) +
                              " s) reached: " + std::to_string(totals.busy) + " requests in progress on " +
                              std::to_string(totals.connections) + " connections are cut");
      at_deadline_ = true;
      if (cut_list_wanted_) {
        auto list = os::Open(handover::CutPath(runtime_dir_, own_pid_), O_WRONLY | O_APPEND | O_CREAT, 0600);
        if (!list) Log(Level::kError, "what is cut cannot be listed: " + list.error().Text());
        if (list) cut_list_ = std::move(list).value();
      }
      Fire(Event::kDeadline);
    });
  }
  CheckGone();
}

void Parent::EndChildren(const std::string& why) {
  if (!why.empty()) Log(Level::kNotice, why);
  loop_->Cancel(deadline_);
  for (Generation* generation : Generations()) {
    generation->listeners.clear();
    StopChildren(*generation);
  }
  if (auto removed = os::RemovePidFile(pid_file_, own_pid_); !removed) Log(Level::kError, removed.error().Text());
  deadline_ = loop_->At(clock_.SteadyNow() + kStopPatience, [this] { Fire(Event::kDeadline); });
  CheckGone();
}

void Parent::StopChildren(Generation& generation) {
  for (ChildProcess& child : generation.children) {
    Message stop("stop");
    if (at_deadline_) stop.Add("CUT", "1");
    if (cut_list_.valid()) stop.descriptors.push_back(cut_list_.Duplicate());
    child.leaving = true;
    TellChild(child, stop);
  }
}

void Parent::TellCutsOf(const ChildProcess& child) {
  const auto now =
      static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(clock_.SteadyNow().time_since_epoch()).count());
  const auto text_in = [](const char* text, size_t size) { return std::string(text, ::strnlen(text, size)); };
  for (const size_t slot : child.slots) {
    const net::LoopSlot& loop = board_->loop(slot);
    uint32_t shown = 0;
    for (const net::WorkerSlot& worker : loop.worker) {
      if (worker.state.load() != 'W') continue;
      ++shown;
      handover::CutRequest request;
      request.client = text_in(worker.client, sizeof worker.client);
      request.request = text_in(worker.request, sizeof worker.request);
      request.age_ms = now - std::min(now, worker.started_ms.load());
      Log(Level::kWarn, "cut at the deadline: " + handover::CutText(request));
      if (!cut_list_.valid()) continue;
      if (auto written = os::WriteAll(cut_list_, handover::FormatCut(request)); !written) {
        Log(Level::kError, "cut list: " + written.error().Text());
      }
    }
    const uint32_t busy = loop.counters.busy.load();
    if (busy > shown) Log(Level::kWarn, "cut at the deadline: " + std::to_string(busy - shown) + " more requests");
  }
}

void Parent::KillChildren() {
  for (Generation* generation : Generations()) {
    for (ChildProcess& child : generation->children) {
      if (at_deadline_) TellCutsOf(child);
      Log(Level::kError,
          "AH00046: child process " + std::to_string(child.pid) + " still did not exit, sending a SIGKILL");
      ::kill(child.pid, SIGKILL);
    }
  }
}

void Parent::FinishExit() {
  // Everything that a log program will ever get is in its pipe now. It reads to the end and leaves.
  if (!exiting_) {
    exiting_ = true;
    exit_patience_ = clock_.SteadyNow() + kProgramPatience;
    Log(Level::kInfo, "AH00096: removed PID file " + pid_file_ + " (pid=" + std::to_string(own_pid_) + ")");
    loop_->Cancel(deadline_);
    handover::RemoveInstanceFiles(runtime_dir_, own_pid_);
    const int null = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {  // stderr may be the error log program's pipe: it would never see the end
      ::dup2(null, 2);
      ::close(null);
    }
    PassCounters();
    successor_.Reset();
    for (auto& generation : old_) Retire(std::move(generation));
    old_.clear();
    if (current_) Retire(std::exchange(current_, nullptr));
    if (pending_) Retire(std::exchange(pending_, nullptr));
  }
  while (!leaving_programs_.empty() && clock_.SteadyNow() < exit_patience_) {
    int status = 0;
    pid_t pid;
    while ((pid = ::waitpid(-1, &status, WNOHANG)) > 0) OnProgramEnded(pid, os::FromWaitStatus(status));
    if (leaving_programs_.empty() || pid < 0) break;
    // A pidfd becomes readable at the end; the first one is as good as any.
    leaving_programs_.front().process.WaitForEnd(200);
  }
  loop_->Stop();
}

// ---------------------------------------------------------------------------------------------------- signals

void Parent::OnSignal() {
  while (const auto signal = signals_->Read()) {
    switch (signal->number) {
      case SIGTERM:
      case SIGINT:
        Fire(Event::kStop);
        break;
      case SIGHUP:
        Fire(Event::kRestart);
        break;
      case SIGUSR1:
        Fire(Event::kGraceful);
        break;
      case SIGWINCH:
        // A terminal that was resized has no sender; kill(2) has one.
        if (signal->sender == 0) break;
        drain_timeout_s_ = current_ ? current_->loaded->config.graceful_shutdown_timeout_s : 0;
        Fire(Event::kDrain);
        break;
      case SIGCHLD:
        OnChildEnds();
        break;
      default:
        break;
    }
    if (state_ == State::kStopped) return;
  }
}

int Parent::Run() {
  loop_->Run();
  return exit_status_;
}

// ---------------------------------------------------------------------------------------------------- control

void Parent::TellTrouble(const std::string& text) {
  if (control_troubles_.Admit(clock_.SteadyNow())) Log(Level::kWarn, "control connection: " + text);
}

void Parent::Refuse(const os::Fd& fd, const std::string& reason) {
  for (int i = 0; i < 16 && handover::Receive(fd); ++i) {
  }
  if (handover::Send(fd, handover::Refusal(reason))) return;  // who does not read it sees the end
}

void Parent::OnControlConnection() {
  os::Fd fd(::accept4(control_listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!fd.valid()) {
    if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM) return;
    TellTrouble("accept: " + std::string(std::strerror(errno)) + "; who connects waits");
    loop_->Unwatch(control_listener_);
    loop_->At(clock_.SteadyNow() + milliseconds(100), [this] {
      if (exiting_) return;
      auto again = loop_->Watch(control_listener_, EPOLLIN, [this](uint32_t) { OnControlConnection(); });
      if (!again) Log(Level::kError, again.error().Text());
    });
    return;
  }
  auto peer = os::GetPeerCredentials(fd);
  if (!peer || (peer.value().uid != 0 && peer.value().uid != ::geteuid())) {
    TellTrouble("refused: process " + (peer ? std::to_string(peer.value().pid) : "?") + " of user " +
                (peer ? std::to_string(peer.value().uid) : "?") + " is neither root's nor ours");
    Refuse(fd, "only root and the user of the server may control it");
    return;
  }
  if (controls_.size() >= kMaxControls) {
    const auto silent =
        std::find_if(controls_.begin(), controls_.end(), [](const Control& control) { return !control.spoke; });
    const std::string reason = std::to_string(kMaxControls) + " control connections are open already";
    if (silent == controls_.end()) {
      TellTrouble("refused: process " + std::to_string(peer.value().pid) + ": " + reason);
      Refuse(fd, reason);
      return;
    }
    TellTrouble("process " + std::to_string(silent->peer) + " had said nothing and makes room: " + reason);
    Refuse(silent->fd, reason);
    DropControl(*silent);
  }
  controls_.push_back(Control{});
  Control& control = controls_.back();
  control.fd = std::move(fd);
  control.peer = peer.value().pid;
  control.since = clock_.SteadyNow();
  const int number = control.fd.get();
  auto watched = loop_->Watch(control.fd, EPOLLIN, [this, number](uint32_t) {
    for (Control& c : controls_) {
      if (c.fd.get() == number) {
        OnControlMessage(c);
        return;
      }
    }
  });
  if (!watched) controls_.pop_back();
}

void Parent::DropControl(Control& control) {
  const bool owner = control.is_owner;
  loop_->Unwatch(control.fd);
  controls_.remove_if([&control](const Control& c) { return &c == &control; });
  if (owner) LeaveStandby();
}

void Parent::DropSilentControls() {
  for (auto control = controls_.begin(); control != controls_.end();) {
    Control& one = *control++;
    if (one.spoke || clock_.SteadyNow() - one.since < kSilencePatience) continue;
    const std::string reason = "nothing was said within " + std::to_string(kSilencePatience.count()) + " s";
    TellTrouble("process " + std::to_string(one.peer) + " is refused: " + reason);
    Refuse(one.fd, reason);
    DropControl(one);
  }
}

void Parent::OnControlMessage(Control& control) {
  const std::string peer = "process " + std::to_string(control.peer);
  auto message = handover::Receive(control.fd);
  if (!message) {
    if (message.error().kind == os::ErrorKind::kBusy) return;
    if (message.error().kind == os::ErrorKind::kInvalid) {
      TellTrouble(peer + " is refused: " + message.error().what);
      if (handover::Send(control.fd, handover::Refusal(message.error().what))) return;
    }
    DropControl(control);
    return;
  }
  control.spoke = true;
  bool later = false;
  std::function<void()> afterwards;
  Message answer = handover::Refusal("\"" + message.value().verb.substr(0, 40) + "\" takes no descriptors");
  if (message.value().descriptors.empty() || message.value().verb == "drain") {
    answer = HandleVerb(control, message.value(), later, afterwards);
  }
  if (!later) {
    if (answer.verb == "refused") TellTrouble(peer + " is refused: " + std::string(answer.Get("REASON").value_or("")));
    if (auto sent = handover::Send(control.fd, answer); !sent) {
      TellTrouble(peer + " does not take its answers (" + sent.error().Text() + "): closed");
      DropControl(control);
    }
  }
  if (afterwards) afterwards();
}

Message Parent::Hello(Control& control, const Message& message) {
  if (message.GetNumber("OWNER").value_or(0) != 0) control.is_owner = true;
  std::error_code ignored;
  Message answer("ok");
  answer.Add("PID", std::to_string(own_pid_))
      .Add("STATE", Name(state_))
      .Add("GENERATION", std::to_string(current_ ? current_->number : 0))
      .Add("VERSION", std::string(modules::kVersion))
      .Add("BINARY", std::filesystem::read_symlink("/proc/self/exe", ignored).string())
      .Add("STARTED", std::to_string(board_->header().start_time.load()))
      .Add("SERVER_ROOT", first_config_->config.server_root)
      .Add("CONFIG_FILE", first_config_->config.config_file);
  return answer;
}

Message Parent::StatusAnswer() const {
  const auto now = std::chrono::duration_cast<milliseconds>(clock_.SteadyNow().time_since_epoch()).count();
  const net::Totals t = board_->Sum(static_cast<uint64_t>(now));
  size_t children = 0;
  for (const Generation* generation : Generations()) children += generation->children.size();
  Message answer("ok");
  answer.Add("STATE", Name(state_))
      .Add("CONNECTIONS", std::to_string(t.connections))
      .Add("BUSY", std::to_string(t.busy))
      .Add("ACCESSES", std::to_string(t.accesses))
      .Add("KBYTES", std::to_string(t.bytes / 1024))
      .Add("ERRORS", std::to_string(t.errors))
      .Add("ACCEPTED", std::to_string(t.accepted))
      .Add("OLDEST_MS", std::to_string(t.oldest_ms))
      .Add("CHILDREN", std::to_string(children))
      .Add("GENERATION", std::to_string(current_ ? current_->number : 0));
  // Rates are made of these: a predecessor's sums arrive all at once and are no event of this moment.
  const net::Totals own = board_->Own(static_cast<uint64_t>(now));
  answer.Add("OWN_ACCESSES", std::to_string(own.accesses))
      .Add("OWN_BYTES", std::to_string(own.bytes))
      .Add("OWN_DURATION_US", std::to_string(own.duration_us))
      .Add("OWN_ERRORS", std::to_string(own.errors))
      .Add("OWN_ACCEPTED", std::to_string(own.accepted))
      .Add("ADOPTED", std::to_string(own.adopted))
      .Add("PASSED", std::to_string(own.passed));
  return answer;
}

Message Parent::HandleVerb(Control& control, Message& message, bool& answer_later, std::function<void()>& afterwards) {
  const std::string& verb = message.verb;
  if (verb == "hello") return Hello(control, message);
  if (verb == "status") return StatusAnswer();
  // Without a current generation a restart is between its two halves; who asks again in a moment gets an answer.
  const bool alive = current_ && (state_ == State::kStandby || state_ == State::kServing || state_ == State::kPaused);
  auto refuse_state = [&] {
    return handover::Refusal("an instance that is " + std::string(Name(state_)) + " cannot do \"" + verb + "\"");
  };
  if (verb == "listeners") {
    if (!alive) return refuse_state();
    const size_t from = static_cast<size_t>(std::max<long long>(message.GetNumber("FROM").value_or(0), 0));
    Message answer("ok");
    for (size_t i = from; i < current_->listeners.size(); ++i) {
      if (answer.descriptors.size() == os::kMaxDescriptorsPerPacket) {
        answer.Add("MORE", "1");
        break;
      }
      answer.Add("LISTENER", current_->listeners[i]->address.Text());
      answer.descriptors.push_back(current_->listeners[i]->fd.Duplicate());
    }
    return answer;
  }
  if (verb == "accept") {
    const auto on = message.GetNumber("ON");
    if (!on) return handover::Refusal("accept needs ON=1 or ON=0");
    if (!alive) return refuse_state();
    control.wants_accept = true;
    control.accept_on = *on != 0;
    answer_later = true;
    afterwards = [this, event = *on != 0 ? Event::kAccept : Event::kPause] { Fire(event); };
    return Message("ok");
  }
  if (verb == "adopt") {
    if (!alive) return refuse_state();
    Message answer("ok");
    answer.descriptors.push_back(intake_write_.Duplicate());
    return answer;
  }
  if (verb == "drain") {
    if (message.descriptors.size() > 1) return handover::Refusal("drain takes one descriptor at most");
    if (!message.descriptors.empty() && !IsIntake(message.descriptors.front())) {
      return handover::Refusal("the descriptor that came with drain is no successor's intake");
    }
    const auto timeout = message.Get("TIMEOUT") ? message.GetNumber("TIMEOUT").value_or(-1) : 0;
    if (timeout < 0 || timeout > kMaxTimeout) return handover::Refusal("drain needs TIMEOUT=seconds, 0 = no limit");
    if (state_ == State::kDraining && message.descriptors.size() == 1) {
      // Our successor is itself being replaced: what is still passed on goes to its successor.
      successor_ = std::move(message.descriptors.front());
      for (const auto& generation : old_) DrainChildren(*generation, "descriptor", false, false);
      if (current_) DrainChildren(*current_, "descriptor", true, true);
      return Message("ok");
    }
    if (!alive) return refuse_state();
    drain_timeout_s_ =
        static_cast<int>(message.GetNumber("TIMEOUT").value_or(current_->loaded->config.graceful_shutdown_timeout_s));
    cut_list_wanted_ = message.GetNumber("CUT_LIST").value_or(0) != 0;
    if (!message.descriptors.empty()) {
      successor_ = std::move(message.descriptors.front());
      Log(Level::kNotice, "handing over: idle connections go to the successor, requests in progress finish here");
    }
    afterwards = [this] { Fire(Event::kDrain); };
    return Message("ok");
  }
  if (verb == "stop") {
    afterwards = [this] { Fire(Event::kStop); };
    return Message("ok");
  }
  if (verb == "graceful-stop") {
    if (!alive) return refuse_state();
    drain_timeout_s_ = current_->loaded->config.graceful_shutdown_timeout_s;
    afterwards = [this] { Fire(Event::kDrain); };
    return Message("ok");
  }
  if (verb == "graceful" || verb == "restart") {
    if (!alive) return refuse_state();
    control.wants_restart = true;
    answer_later = true;
    afterwards = [this, event = verb == "graceful" ? Event::kGraceful : Event::kRestart] { Fire(event); };
    return Message("ok");
  }
  return handover::Refusal("unknown verb \"" + verb.substr(0, 40) + "\"");
}

}  // namespace httpd::process
