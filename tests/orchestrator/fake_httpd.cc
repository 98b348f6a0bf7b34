// A server that speaks the orchestrator's half of the protocol and misbehaves on request. One process, one poll loop.
//
// Configuration, one item a line:  RuntimeDir PATH | PidFile PATH | Listen ADDRESS:PORT | GracefulShutdownTimeout S |
//   Version TEXT | Misbehave WORD (repeatable). Words: bad-config, dies-at-start, never-ready, foreign-ready,
//   not-standby, fails-probe, silent-probe, dies-in-standby, refuses-accept, dies-after-accept, errors, deaf,
//   ignores-term, refuses-drain, refuses-resume, slow-start, mute-observers.
// HTTP: GET /hold is never answered (a request in progress until the deadline); GET /env/NAME, /limits, /umask, /cwd,
// /fds
//   tell what the process was given; anything else answers "VERSION PID".
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <set>
#include <sstream>

#include "handover/listen_fds.h"
#include "handover/message.h"
#include "handover/readiness.h"
#include "os/file.h"
#include "os/pid_file.h"
#include "os/poll.h"
#include "os/signals.h"
#include "os/socket.h"

namespace {

using handover::Message;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct Config {
  std::string root = "/";
  std::string file;
  std::string runtime_dir;
  std::string pid_file;
  std::string version = "fake";
  int timeout = 0;
  std::vector<std::string> listen;
  std::multiset<std::string> misbehave;
  bool Is(const std::string& word) const { return misbehave.contains(word); }
};

struct Arguments {
  std::string action = "run";
  std::string verb;
  std::string root;
  std::string file;
  std::set<std::string> defines;
  bool standby = false;
};

[[noreturn]] void Die(const std::string& line) {
  std::fprintf(stderr, "%s\n", line.c_str());
  std::exit(1);
}

Config Read(const Arguments& arguments) {
  Config config;
  config.root = arguments.root;
  config.file = arguments.file;
  std::ifstream in(arguments.file);
  if (!in) Die("httpd: Could not open configuration file " + arguments.file + ": No such file or directory");
  std::string line;
  int number = 0;
  while (std::getline(in, line)) {
    ++number;
    std::istringstream words(line);
    std::string key;
    std::string value;
    words >> key >> std::ws;
    std::getline(words, value);
    if (key == "RuntimeDir") config.runtime_dir = value;
    if (key == "PidFile") config.pid_file = value;
    if (key == "Version") config.version = value;
    if (key == "GracefulShutdownTimeout") config.timeout = std::atoi(value.c_str());
    if (key == "Listen") config.listen.push_back(value);
    if (key == "NeedsDefine" && !arguments.defines.contains(value)) {
      Die("AH00526: Syntax error on line " + std::to_string(number) + " of " + arguments.file + ":\n" + value +
          " is not defined");
    }
    if (key == "Misbehave") config.misbehave.insert(value);
    if (key == "Misbehave" && value == "bad-config") {
      Die("AH00526: Syntax error on line " + std::to_string(number) + " of " + arguments.file +
          ":\nInvalid command 'Misbehave', perhaps misspelled");
    }
  }
  return config;
}

void PrintRunConfig(const Config& config) {
  std::string listen;
  for (size_t i = 0; i < config.listen.size(); ++i) {
    listen += std::string(i ? "," : "") + "{\"address\":\"" + config.listen[i] +
              "\",\"protocol\":\"http\",\"file\":\"" + config.file + "\",\"line\":" + std::to_string(i + 1) + "}";
  }
  std::printf(
      "{\"version\":\"%s\",\"binary\":\"fake\",\"server_root\":\"%s\",\"config_file\":\"%s\",\"pid_file\":\"%s\","
      "\"runtime_dir\":\"%s\",\"user\":\"root\",\"group\":\"root\",\"graceful_shutdown_timeout\":%d,"
      "\"graceful_restart_timeout\":0,\"listen\":[%s],\"logs\":[]}\n",
      config.version.c_str(), config.root.c_str(), config.file.c_str(), config.pid_file.c_str(),
      config.runtime_dir.c_str(), config.timeout, listen.c_str());
}

class Server {
 public:
  Server(Config config, bool standby) : config_(std::move(config)), state_(standby ? "standby" : "serving") {}

  int Run() {
    loop_ = std::move(os::PollLoop::Open(clock_)).value();
    signals_.emplace(std::move(os::SignalFd::Open({SIGTERM, SIGWINCH})).value());
    Watch(signals_->fd(), [this] {
      const auto signal = signals_->Read();
      if (!signal) return;
      if (signal->number == SIGWINCH) StartDrain(config_.timeout);
      if (signal->number == SIGTERM && !config_.Is("ignores-term")) loop_->Stop();
    });
    if (config_.Is("dies-at-start")) Die("(98)Address already in use: AH00072: make_sock: something is wrong");
    if (!OpenListeners()) return 1;
    const std::string base = config_.runtime_dir + "/httpd." + std::to_string(::getpid());
    control_ = std::move(os::ListenUnix(base + ".control", SOCK_SEQPACKET, 0600)).value();
    private_ = std::move(os::ListenUnix(base + ".http", SOCK_STREAM, 0600)).value();
    Watch(control_, [this] { AcceptControl(); });
    Watch(private_, [this] { AcceptClient(private_); });
    auto pair = std::move(os::SocketPair(SOCK_SEQPACKET, SOCK_NONBLOCK)).value();
    intake_ = std::move(pair.first);
    intake_sender_ = std::move(pair.second);
    if (state_ == "serving") {
      SetAccepting(true);
      if (!os::WritePidFile(config_.pid_file, ::getpid())) Die("cannot write the PidFile");
    }
    if (config_.Is("not-standby")) state_ = "serving";
    TellReady();
    if (config_.Is("dies-in-standby") && state_ == "standby") {
      loop_->At(clock_.SteadyNow() + milliseconds(50), [] { ::_exit(7); });
    }
    loop_->Run();
    ::unlink((base + ".control").c_str());
    ::unlink((base + ".http").c_str());
    if (auto removed = os::RemovePidFile(config_.pid_file, ::getpid()); !removed) return 1;
    return 0;
  }

 private:
  void Watch(const os::Fd& fd, std::function<void()> ready) {
    if (!loop_->Watch(fd, EPOLLIN, [ready = std::move(ready)](uint32_t) { ready(); })) Die("cannot watch");
  }

  bool OpenListeners() {
    auto inherited = handover::TakeListenFds();
    if (!inherited) Die(inherited.error().Text());
    for (const std::string& address : config_.listen) {
      bool found = false;
      for (auto& listener : inherited.value()) {
        if (listener.fd.valid() && listener.address.Text() == address) {
          listeners_.push_back(std::move(listener));
          found = true;
        }
      }
      if (found) continue;
      if (state_ == "standby") Die("AH00072: no inherited socket for Listen " + address);
      auto parsed = os::SocketAddress::Parse(address);
      auto fd = os::ListenTcp(parsed.value(), 511);
      if (!fd) Die("(98)Address already in use: AH00072: could not bind to address " + address);
      listeners_.push_back({parsed.value(), address, std::move(fd).value()});
    }
    return true;
  }

  void TellReady() {
    if (config_.Is("never-ready")) return;
    const std::string text = "READY=1\nMAINPID=" + std::to_string(::getpid()) + "\n";
    if (config_.Is("foreign-ready")) {
      const pid_t child = ::fork();
      if (child == 0) {
        const auto sent = handover::Notify("READY=1\nMAINPID=" + std::to_string(::getpid()) + "\n");
        ::_exit(sent ? 0 : 1);
      }
      ::waitpid(child, nullptr, 0);
      return;
    }
    const int delay = config_.Is("slow-start") ? 300 : 0;
    loop_->At(clock_.SteadyNow() + milliseconds(delay), [text] {
      if (!handover::Notify(text)) Die("cannot notify");
    });
  }

  void SetAccepting(bool on) {
    if (on == accepting_ || config_.Is("deaf")) return;
    accepting_ = on;
    for (auto& listener : listeners_) {
      if (on) {
        Watch(listener.fd, [this, &listener] { AcceptClient(listener.fd); });
      } else {
        loop_->Unwatch(listener.fd);
      }
    }
  }

  void AcceptControl() {
    const int raw = ::accept4(control_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (raw < 0) return;
    auto socket = std::make_shared<os::Fd>(raw);
    controls_[raw] = socket;
    Watch(*socket, [this, raw] {
      auto kept = controls_[raw];
      auto request = handover::Receive(*kept);
      if (!request) {
        loop_->Unwatch(*kept);
        controls_.erase(raw);
        greeted_.erase(raw);
        if (owner_ == raw && state_ == "standby") loop_->Stop();
        return;
      }
      const std::string verb = request.value().verb;
      if (verb == "hello") greeted_.insert(raw);
      if (config_.Is("mute-observers") && verb == "status" && !greeted_.contains(raw)) return;
      const Message answer = Answer(std::move(request).value(), raw);
      if (!handover::Send(*kept, answer)) return;
    });
  }

  Message Answer(Message request, int connection) {
    Message ok("ok");
    if (request.verb == "hello") {
      if (request.Get("OWNER") == "1") owner_ = connection;
      ok.Add("PID", std::to_string(::getpid())).Add("STATE", state_).Add("GENERATION", "1");
      ok.Add("VERSION", config_.version).Add("BINARY", "fake").Add("STARTED", std::to_string(::time(nullptr)));
      ok.Add("SERVER_ROOT", config_.root).Add("CONFIG_FILE", config_.file);
      return ok;
    }
    if (request.verb == "listeners") {
      const auto from = static_cast<size_t>(request.GetNumber("FROM").value_or(0));
      for (size_t i = from; i < listeners_.size(); ++i) {
        if (i - from == 2) {  // two a packet, so that MORE is used by small tests
          ok.Add("MORE", "1");
          break;
        }
        ok.Add("LISTENER", listeners_[i].address.Text());
        ok.descriptors.push_back(listeners_[i].fd.Duplicate());
      }
      return ok;
    }
    if (request.verb == "accept") {
      if (request.Get("ON") == "1") {
        if (config_.Is("refuses-accept")) return handover::Refusal("a child does not accept");
        if (config_.Is("refuses-resume") && state_ == "paused") return handover::Refusal("no way back");
        state_ = "serving";
        SetAccepting(true);
        if (!os::WritePidFile(config_.pid_file, ::getpid())) return handover::Refusal("PidFile");
        if (config_.Is("dies-after-accept")) {
          loop_->At(clock_.SteadyNow() + milliseconds(150), [] { ::_exit(9); });
        }
      } else {
        state_ = "paused";
        SetAccepting(false);
      }
      return ok;
    }
    if (request.verb == "adopt") {
      ok.descriptors.push_back(intake_sender_.Duplicate());
      return ok;
    }
    if (request.verb == "drain") {
      if (config_.Is("refuses-drain")) return handover::Refusal("I stay");
      if (state_ == "draining") {
        ++redirected_;
        return request.descriptors.size() == 1 ? Message("ok") : handover::Refusal("no intake");
      }
      if (request.descriptors.size() != 1 && !request.Get("TIMEOUT")) return handover::Refusal("no intake");
      StartDrain(static_cast<int>(request.GetNumber("TIMEOUT").value_or(0)));
      return ok;
    }
    if (request.verb == "status") {
      if (redirected_ > 0) ok.Add("REDIRECTED", std::to_string(redirected_));
      ok.Add("STATE", state_).Add("CONNECTIONS", std::to_string(held_.size()));
      ok.Add("BUSY", std::to_string(held_.size())).Add("ACCESSES", std::to_string(requests_));
      ok.Add("ERRORS", config_.Is("errors") ? std::to_string(requests_) : "0").Add("CHILDREN", "1");
      ok.Add("ACCEPTED", std::to_string(requests_)).Add("OLDEST_MS", "1").Add("KBYTES", "0").Add("GENERATION", "1");
      return ok;
    }
    if (request.verb == "stop") {
      if (config_.Is("ignores-term")) return ok;
      loop_->At(clock_.SteadyNow(), [this] { loop_->Stop(); });
      return ok;
    }
    return handover::Refusal("unknown verb " + request.verb);
  }

  void StartDrain(int timeout) {
    state_ = "draining";
    SetAccepting(false);
    listeners_.clear();
    if (config_.Is("ignores-term")) return;  // hangs for ever, with whatever it has
    if (held_.empty()) {
      loop_->At(clock_.SteadyNow() + milliseconds(20), [this] { loop_->Stop(); });
    } else if (timeout > 0) {
      loop_->At(clock_.SteadyNow() + seconds(timeout), [this] { loop_->Stop(); });
    }
  }

  void AcceptClient(const os::Fd& listener) {
    os::Fd client(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!client.valid()) return;
    const timeval patience{2, 0};
    ::setsockopt(client.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::string request;
    char buffer[2048];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = ::read(client.get(), buffer, sizeof buffer);
      if (n <= 0) return;
      request.append(buffer, static_cast<size_t>(n));
    }
    ++requests_;
    const std::string path = request.substr(4, request.find(' ', 4) - 4);
    if (path == "/hold") {
      auto kept = std::make_shared<os::Fd>(std::move(client));
      held_[kept->get()] = kept;
      Watch(*kept, [this, raw = kept->get()] {  // the client has gone
        auto last = held_[raw];
        loop_->Unwatch(*last);
        held_.erase(raw);
        if (state_ == "draining" && held_.empty()) loop_->Stop();
      });
      return;
    }
    if (config_.Is("silent-probe")) return;
    const std::string body = Body(path);
    const std::string status = config_.Is("fails-probe") ? "503 Service Unavailable"
                               : path == "/missing"      ? "404 Not Found"
                                                         : "200 OK";
    const std::string answer = "HTTP/1.1 " + status + "\r\nContent-Length: " + std::to_string(body.size()) +
                               "\r\nConnection: close\r\n\r\n" + body;
    if (!os::WriteAll(client, answer)) return;
  }

  std::string Body(const std::string& path) const {
    if (path.starts_with("/env/")) {
      const char* value = std::getenv(path.c_str() + 5);
      return value ? value : "(none)";
    }
    if (path == "/umask") {
      const mode_t mask = ::umask(0);
      ::umask(mask);
      return std::to_string(mask);
    }
    if (path == "/nofile") {
      rlimit limit{};
      ::getrlimit(RLIMIT_NOFILE, &limit);
      return std::to_string(limit.rlim_cur);
    }
    if (path == "/cwd") return std::filesystem::current_path().string();
    if (path == "/session") return std::to_string(::getsid(0));
    if (path == "/cmdline") {
      std::string text = os::ReadFile("/proc/self/cmdline").value();
      for (char& c : text) {
        if (c == '\0') c = ' ';
      }
      return text;
    }
    if (path == "/fds") return std::to_string(os::ListDirectory("/proc/self/fd").value().size());
    return config_.version + " " + std::to_string(::getpid());
  }

  Config config_;
  std::string state_;
  os::SystemClock clock_;
  std::unique_ptr<os::PollLoop> loop_;
  std::optional<os::SignalFd> signals_;
  std::vector<handover::Listener> listeners_;
  os::Fd control_;
  os::Fd private_;
  os::Fd intake_;
  os::Fd intake_sender_;
  std::map<int, std::shared_ptr<os::Fd>> controls_;
  std::map<int, std::shared_ptr<os::Fd>> held_;
  std::set<int> greeted_;  ///< control connections that said hello; those of an observer do not
  int owner_ = -1;
  bool accepting_ = false;
  int64_t requests_ = 0;
  int redirected_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  os::IgnoreSignal(SIGPIPE);
  Arguments arguments;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&] { return i + 1 < argc ? std::string(argv[++i]) : std::string(); };
    if (argument == "-d") arguments.root = value();
    if (argument == "-f") arguments.file = value();
    if (argument == "-D") arguments.defines.insert(value());
    if (argument == "-k") arguments.verb = value();
    if (argument == "-t") arguments.action = "test";
    if (argument == "--run-config") arguments.action = "run-config";
    if (argument == "--standby") arguments.standby = true;
  }
  if (arguments.verb == "stop") {
    std::fputs("asked to stop\n", stderr);
    return 0;
  }
  const Config config = Read(arguments);
  if (arguments.action == "run-config") {
    PrintRunConfig(config);
    return 0;
  }
  if (arguments.action == "test") {
    std::fputs("Syntax OK\n", stderr);
    return 0;
  }
  if (arguments.verb == "start") {
    if (::fork() != 0) return 0;
    ::setsid();
    const int null = ::open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; ++fd) ::dup2(null, fd);
  }
  return Server(config, arguments.standby).Run();
}
