#include "httpd/process/child.h"

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <list>
#include <memory>
#include <thread>

#include "handover/cut_list.h"
#include "handover/message.h"
#include "httpd/modules/handler.h"
#include "httpd/modules/ssl_context.h"
#include "os/file.h"
#include "os/process.h"
#include "os/signals.h"

namespace httpd::process {

namespace {

os::Status DropPrivileges(const Identity& identity) {
  if (identity.gid) {
    if (::geteuid() == 0 && ::initgroups(identity.user_name.c_str(), *identity.gid) != 0) {
      return os::SysError(errno, "AH02155: set supplementary groups");
    }
    if (::setresgid(*identity.gid, *identity.gid, *identity.gid) != 0) {
      return os::SysError(errno, "AH02156: set group id " + std::to_string(*identity.gid));
    }
  }
  if (identity.uid && ::setresuid(*identity.uid, *identity.uid, *identity.uid) != 0) {
    return os::SysError(errno, "AH02162: set user id " + std::to_string(*identity.uid));
  }
  return os::kDone;
}

/// The loops of one child and the orders of its parent.
class Child {
 public:
  explicit Child(ChildSetup setup) : setup_(std::move(setup)) {}
  int Run();

 private:
  struct Worker {
    std::unique_ptr<modules::Handler> handler;
    std::unique_ptr<net::EventLoop> loop;
  };
  void OnMessage();
  void OnOrphaned();
  /// Runs `order` on every loop's thread, then `done` once
  /// (on the first loop's thread, which alone touches what the loops share).
  void OnEveryLoop(const std::function<void(net::EventLoop&)>& order, std::function<void()> done);
  void Drain(const handover::Message& message);
  void Tell(const std::string& verb, const std::string& key = "", const std::string& value = "");
  void CloseListeners(bool keep_private);
  void Stop(handover::Message message);

  ChildSetup setup_;
  std::vector<Worker> workers_;
  std::atomic<size_t> others_done_ = 0;
  std::list<os::Fd> successors_;  ///< oldest first; loops lend the one of their last order
};

void Child::Tell(const std::string& verb, const std::string& key, const std::string& value) {
  handover::Message message(verb);
  if (!key.empty()) message.Add(key, value);
  auto sent = handover::Send(setup_.channel, message);
  if (!sent) return;  // the parent is gone: the channel's end-of-file says so in a moment
}

void Child::OnEveryLoop(const std::function<void(net::EventLoop&)>& order, std::function<void()> done) {
  auto left = std::make_shared<std::atomic<size_t>>(workers_.size());
  auto finish = std::make_shared<std::function<void()>>(std::move(done));
  for (Worker& worker : workers_) {
    net::EventLoop* loop = worker.loop.get();
    loop->Post([this, order, loop, left, finish] {
      order(*loop);
      if (left->fetch_sub(1) == 1 && *finish) workers_.front().loop->Post(*finish);
    });
  }
}

void Child::CloseListeners(bool keep_private) {
  for (const net::ListenSource& source : setup_.listeners) {
    if (!source.is_private || !keep_private) ::close(source.fd);
  }
  std::erase_if(setup_.listeners, [keep_private](const auto& s) { return !s.is_private || !keep_private; });
}

void Child::Drain(const handover::Message& message) {
  net::DrainPlan plan;
  const std::string_view pass = message.Get("PASS").value_or("none");
  if (pass == "own") plan.successor = setup_.intake_write;
  if (pass == "descriptor" && !successors_.empty()) plan.successor = successors_.back().get();
  plan.read_intake = message.GetNumber("INTAKE").value_or(0) != 0;
  plan.keep_private = message.GetNumber("PRIVATE").value_or(0) != 0;
  const int last = successors_.empty() ? -1 : successors_.back().get();
  OnEveryLoop([plan](net::EventLoop& loop) { loop.Drain(plan); },
              [this, plan, last, pass = std::string(pass)] {
                CloseListeners(plan.keep_private);
                // What nobody here sends to any more must not look open to its reader.
                if (pass != "own" && setup_.intake_write >= 0) ::close(std::exchange(setup_.intake_write, -1));
                // Those of earlier orders; a later order may have brought one more already.
                while (last >= 0 && !successors_.empty() && successors_.front().get() != plan.successor) {
                  const bool was_last = successors_.front().get() == last;
                  successors_.pop_front();
                  if (was_last) break;
                }
              });
}

void Child::OnMessage() {
  auto message = handover::Receive(setup_.channel);
  if (!message) {
    if (message.error().kind == os::ErrorKind::kBusy || message.error().kind == os::ErrorKind::kInvalid) return;
    OnOrphaned();
    return;
  }
  const std::string verb = message.value().verb;
  if (verb == "accept") {
    const bool on = message.value().GetNumber("ON").value_or(0) != 0;
    OnEveryLoop([on](net::EventLoop& loop) { loop.SetAccepting(on); },
                [this, on] { Tell("accepting", "ON", on ? "1" : "0"); });
  } else if (verb == "drain") {
    for (os::Fd& fd : message.value().descriptors) successors_.push_back(std::move(fd));
    Drain(message.value());
  } else if (verb == "stop") {
    Stop(std::move(message).value());
  }
}

void Child::Stop(handover::Message message) {
  if (!message.Get("CUT")) {
    OnEveryLoop([](net::EventLoop& loop) { loop.StopNow(); }, {});
    return;
  }
  auto list = std::make_shared<os::Fd>();
  if (!message.descriptors.empty()) *list = std::move(message.descriptors.front());
  OnEveryLoop(
      [this, list](net::EventLoop& loop) {
        loop.CutAndStop([&](const handover::CutRequest& request) {
          setup_.error_log->Write(config::LogLevel::kWarn, "event",
                                  "cut at the deadline: " + handover::CutText(request));
          if (!list->valid()) return;
          if (auto written = os::WriteAll(*list, handover::FormatCut(request)); !written) {
            setup_.error_log->Write(config::LogLevel::kError, "event", "cut list: " + written.error().Text());
          }
        });
      },
      {});
}

void Child::OnOrphaned() {
  // Nobody will tell us anything any more. The port must be free at once, what is in progress gets half a second.
  static bool once = false;
  if (once) return;
  once = true;
  itimerval limit{};
  limit.it_value.tv_usec = 500000;
  ::signal(SIGALRM, SIG_DFL);
  ::setitimer(ITIMER_REAL, &limit, nullptr);
  OnEveryLoop([](net::EventLoop& loop) { loop.Drain(net::DrainPlan{}); }, [this] { CloseListeners(false); });
  setup_.channel.Reset();  // the last descriptor of this socket: epoll forgets it with the close
}

int Child::Run() {
  os::ResetSignals();
  for (const int number : {SIGPIPE, SIGXFSZ, SIGINT, SIGHUP, SIGUSR1, SIGWINCH}) os::IgnoreSignal(number);
  auto signals = os::SignalFd::Open({SIGTERM});
  if (!signals) {
    setup_.error_log->Write(config::LogLevel::kEmerg, "event", signals.error().Text());
    return 2;
  }
  // Whoever started the server must not wait for its children to let go of a terminal or a shell's pipe.
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, 0);
  ::dup2(null, 1);
  ::dup2(setup_.error_fd >= 0 ? setup_.error_fd : null, 2);
  std::vector<int> keep = setup_.keep;
  for (const auto& source : setup_.listeners) keep.push_back(source.fd);
  keep.insert(keep.end(), {setup_.intake_read, setup_.intake_write, setup_.channel.get(), signals.value().fd().get()});
  os::CloseAllExcept(std::move(keep));
  if (auto dropped = DropPrivileges(setup_.identity); !dropped) {
    setup_.error_log->Write(config::LogLevel::kAlert, "unixd", dropped.error().Text());
    return 2;
  }
  if (!setup_.working_directory.empty() && ::chdir(setup_.working_directory.c_str()) != 0) {
    setup_.error_log->Write(
        config::LogLevel::kWarn, "core",
        "cannot change to CoreDumpDirectory " + setup_.working_directory + ": " + std::strerror(errno));
  }
  ::prctl(PR_SET_DUMPABLE, 1);  // setuid cleared it; /proc/self must stay ours for tools that look

  for (const size_t slot : setup_.slots) {
    Worker worker;
    worker.handler = std::make_unique<modules::Handler>(*setup_.site, *setup_.board);
    net::EventLoop::Setup loop_setup;
    loop_setup.listeners = setup_.listeners;
    loop_setup.intake = setup_.intake_read;
    loop_setup.tls = setup_.site->ssl();
    loop_setup.proxied = setup_.site->proxied();
    loop_setup.slot = &setup_.board->loop(slot);
    loop_setup.show_request_tails = setup_.site->config().see_request_tail;
    loop_setup.max_busy = setup_.max_busy_per_loop;
    loop_setup.max_held = setup_.max_held_per_loop;
    loop_setup.max_connections = setup_.max_connections_per_loop;
    loop_setup.on_recycle = [this] { Tell("recycle"); };
    if (workers_.empty()) {
      loop_setup.may_end = [this] { return others_done_ + 1 >= workers_.size(); };
    }
    loop_setup.on_counters = [this](const handover::Message& message) {
      auto number = [&message](std::string_view key) {
        return static_cast<uint64_t>(std::max<long long>(message.GetNumber(key).value_or(0), 0));
      };
      net::Totals totals;
      totals.accesses = number("ACCESSES");
      totals.bytes = number("BYTES");
      totals.duration_us = number("DURATION_US");
      totals.errors = number("ERRORS");
      totals.accepted = number("ACCEPTED");
      setup_.board->Inherit(totals, message.GetNumber("START").value_or(0));
    };
    loop_setup.on_trouble = [this](std::string_view text) {
      setup_.error_log->Write(config::LogLevel::kError, "event", text);
    };
    worker.loop = std::make_unique<net::EventLoop>(std::move(loop_setup), *worker.handler);
    if (auto opened = worker.loop->Open(); !opened) {
      setup_.error_log->Write(config::LogLevel::kEmerg, "event", opened.error().Text());
      return 2;
    }
    if (setup_.accepting) worker.loop->SetAccepting(true);
    workers_.push_back(std::move(worker));
  }
  net::EventLoop& first = *workers_.front().loop;
  if (!first.WatchForeign(setup_.channel.get(), [this] { OnMessage(); }) ||
      !first.WatchForeign(signals.value().fd().get(), [this, &signals] {
        if (signals.value().Read()) OnEveryLoop([](net::EventLoop& loop) { loop.StopNow(); }, {});
      })) {
    return 2;
  }
  if (setup_.site->ssl()) setup_.site->ssl()->stapling().StartAsking();
  // The first loop carries the parent's orders: it stays on them until the others are done too.
  std::vector<std::thread> threads;
  for (size_t i = 1; i < workers_.size(); ++i) {
    threads.emplace_back([this, i, &first] {
      workers_[i].loop->Run();
      ++others_done_;
      first.Post([] {});
    });
  }
  Tell("ready");
  first.Run();
  for (std::thread& thread : threads) thread.join();
  return 0;
}

}  // namespace

int RunChild(ChildSetup setup) {
  Child child(std::move(setup));
  return child.Run();
}

}  // namespace httpd::process
