#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <thread>

#include "tests/logs/site.h"

// When is a log finished? `processlogs why` names who keeps it open, `processlogs run` leaves it alone until nobody
// does, and takes it in the first run after that. Nothing here waits for a file to become old.

namespace {

using logs::Apache;
using logs::Count;
using logs::Eventually;
using logs::FileText;
using logs::LinesOf;
using logs::Outcome;
using logs::Slow;
namespace fs = std::filesystem;

bool Says(const Outcome& outcome, const std::string& text) {
  return outcome.out.find(text) != std::string::npos;
}

std::string Writes(pid_t pid, const std::string& program) {
  return "writes: process " + std::to_string(pid) + " (" + program + "), running since ";
}

/// A forked child that does something with a file and waits until the object goes.
class Holder {
 public:
  explicit Holder(const std::function<void()>& hold) {
    int ready[2] = {-1, -1}, leave[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(leave, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(leave[1]);
      hold();
      char byte = 0;
      if (::write(ready[1], &byte, 1) != 1) ::_exit(1);
      while (::read(leave[0], &byte, 1) < 0 && errno == EINTR) {
      }
      ::_exit(0);
    }
    leave_ = os::Fd(leave[1]);
    ::close(leave[0]);
    ::close(ready[1]);
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1) << "the child died";
    ::close(ready[0]);
  }
  ~Holder() { Leave(); }
  void Leave() {
    leave_.Reset();
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
  os::Fd leave_;
};

class Sealed : public logs::Site {
 protected:
  /// A log of one line. Processlogs are given absolute names: they run where the test does.
  fs::path Log(const std::string& name = "a.1") {
    fs::create_directories(root_ / "logs");
    e2e::WriteFile(root_ / "logs" / name, "one\n");
    return root_ / "logs" / name;
  }

  Outcome Why(const fs::path& segment, const std::vector<std::string>& environment = {}) const {
    return Processlogs({"why", segment.string()}, environment);
  }

  /// Counts the lines of each finished segment.
  Outcome Run(const std::string& pattern, const std::vector<std::string>& options = {},
              const std::vector<std::string>& environment = {}) const {
    std::vector<std::string> words = {"run", "--ledger", (root_ / "ledger").string(), "--out",
                                      (root_ / "out").string()};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {pattern, "--", "wc", "-l"});
    return Processlogs(words, environment);
  }

  std::string Processed(const std::string& name) const { return FileText(root_ / "out" / (name + ".out")); }

  /// Not sealed for the reason `reason`; and sealed by the first run after `leave`.
  void ExpectOpenUntil(const fs::path& segment, const std::string& reason, const std::function<void()>& leave) {
    const Outcome early = Run(segment.string());
    EXPECT_EQ(early.status, 0) << early.All();
    EXPECT_TRUE(Says(early, "open " + segment.string() + ": ")) << early.All();
    EXPECT_TRUE(Says(early, reason)) << early.All();
    EXPECT_EQ(Processed(segment.filename().string()), "");
    leave();
    const Outcome late = Run(segment.string());
    EXPECT_EQ(late.status, 0) << late.All();
    EXPECT_NE(Processed(segment.filename().string()), "") << late.All();
  }

  const std::string self_ = fs::read_symlink("/proc/self/exe").filename().string();
};

// ---- servers that write their logs themselves ----

TEST_F(Sealed, ALogOfApacheAfterMvAndGracefulIsOpenWhileAnOldChildHasARequestAndSealedWhenItHasLeft) {
  if (!Apache::Installed()) GTEST_SKIP() << "apache2 is not installed";
  Apache apache(root_, {.mpm = "prefork", .logs = "CustomLog access path\nErrorLog error.log"});
  ASSERT_NO_FATAL_FAILURE(apache.Start());
  Slow slow(apache, "old");
  const fs::path moved = apache.directory() / "access.1";
  fs::rename(apache.directory() / "access", moved);
  ASSERT_NO_FATAL_FAILURE(apache.Graceful());
  // The children without a request leave when they are told; then it is that one only.
  Outcome why;
  EXPECT_TRUE(Eventually([&] {
    why = Why(moved);
    return Says(why,
                "not sealed: process " + std::to_string(slow.served_by()) + " (apache2) has it open for writing\n");
  })) << why.All();
  EXPECT_TRUE(Says(why, Writes(slow.served_by(), "apache2"))) << why.All();
  ExpectOpenUntil(moved, "process " + std::to_string(slow.served_by()) + " (apache2) has it open for writing", [&] {
    EXPECT_TRUE(slow.Finish());
    EXPECT_TRUE(Eventually([&] {
      const auto all = logs::EveryProcess();
      return std::none_of(all.begin(), all.end(),
                          [&](const auto& one) { return one.pid == slow.served_by() && one.state != 'Z'; });
    }));
  });
  EXPECT_EQ(Count(LinesOf(apache.directory(), "access.1"), "slow?old 200"), 1U)
      << "the last line is in what was processed";
}

class Nginx {
 public:
  explicit Nginx(const fs::path& root) : root_(root / "nginx"), port_(e2e::FreePort()) {
    fs::create_directories(root_ / "html");
    const std::string dir = root_.string();
    e2e::WriteFile(root_ / "html" / "ok", "ok\n");
    e2e::WriteFile(root_ / "html" / "big", std::string(8 << 20, 'x'));
    std::string text = "pid " + dir + "/pid;\nerror_log " + dir + "/error.log;\nworker_processes 2;\n";
    if (::geteuid() == 0) text += "user www-data;\n";
    text += "events {}\nhttp {\nlog_format path '$request_uri $status';\naccess_log " + dir + "/access path;\n";
    for (const char* temporary : {"client_body", "proxy", "fastcgi", "uwsgi", "scgi"}) {
      text += std::string(temporary) + "_temp_path " + dir + "/" + temporary + ";\n";
    }
    text += "server { listen 127.0.0.1:" + std::to_string(port_) + " sndbuf=32k; root " + dir + "/html; }\n}\n";
    e2e::WriteFile(root_ / "conf", text);
  }
  ~Nginx() {
    if (pid_ > 0) ::kill(pid_, SIGTERM);
    Eventually([this] { return !fs::exists(root_ / "pid"); });
  }
  void Start() {
    const Outcome started =
        e2e::Execute({logs::Find("nginx"), "-e", (root_ / "error.log").string(), "-c", (root_ / "conf").string()});
    ASSERT_EQ(started.status, 0) << started.All();
    ASSERT_TRUE(Eventually([this] { return e2e::Connection::Open(port_).has_value(); }));
    pid_ = std::atoi(FileText(root_ / "pid").c_str());
    ASSERT_GT(pid_, 0);
  }
  void Signal(int number) const { ASSERT_EQ(::kill(pid_, number), 0); }
  std::vector<pid_t> Workers() const {
    std::vector<pid_t> out;
    for (const auto& process : logs::EveryProcess()) {
      if (process.parent == pid_ && process.state != 'Z') out.push_back(process.pid);
    }
    return out;
  }
  pid_t pid() const { return pid_; }
  uint16_t port() const { return port_; }
  const fs::path& directory() const { return root_; }

 private:
  fs::path root_;
  uint16_t port_;
  pid_t pid_ = 0;
};

TEST_F(Sealed, ALogOfNginxIsOpenAfterMvNamesEveryProcessAndIsSealedAfterUsr1InSpiteOfASlowDownload) {
  if (logs::Find("nginx").empty()) GTEST_SKIP() << "nginx is not installed";
  Nginx nginx(root_);
  ASSERT_NO_FATAL_FAILURE(nginx.Start());
  auto slow = e2e::Connection::Open(nginx.port(), 4096);
  ASSERT_TRUE(slow && slow->Send(e2e::GetRequest("/big", "Connection: close\r\n")));
  ASSERT_EQ(slow->ReadSome(1000).size(), 1000U);
  const fs::path moved = nginx.directory() / "access.1";
  e2e::WriteFile(root_ / "ok", "");
  fs::rename(nginx.directory() / "access", moved);
  ASSERT_TRUE(Eventually([&] { return nginx.Workers().size() == 2; }));
  const Outcome why = Why(moved);
  EXPECT_TRUE(Says(why, Writes(nginx.pid(), "nginx"))) << why.All();
  for (const pid_t worker : nginx.Workers()) EXPECT_TRUE(Says(why, Writes(worker, "nginx"))) << why.All();
  ExpectOpenUntil(moved, "(nginx) have it open for writing", [&] {
    // Workers open the new file when they hear of it, whatever they are doing.
    ASSERT_NO_FATAL_FAILURE(nginx.Signal(SIGUSR1));
    EXPECT_TRUE(Eventually([&] { return !Says(Why(moved), "writes: "); }));
    EXPECT_TRUE(Says(Why(moved), "sealed: no process can write to it"));
  });
  slow->ReadSome(64 << 20);
  EXPECT_TRUE(Eventually([&] { return FileText(nginx.directory() / "access") == "/big 200\n"; }))
      << "the slow download is in the new log";
  EXPECT_EQ(FileText(moved), "");
}

TEST_F(Sealed, ALogOfNginxAfterMvAndAReloadIsOpenWhileAnOldWorkerHasARequest) {
  if (logs::Find("nginx").empty()) GTEST_SKIP() << "nginx is not installed";
  Nginx nginx(root_);
  ASSERT_NO_FATAL_FAILURE(nginx.Start());
  auto slow = e2e::Connection::Open(nginx.port(), 4096);
  ASSERT_TRUE(slow && slow->Send(e2e::GetRequest("/big", "Connection: close\r\n")));
  ASSERT_EQ(slow->ReadSome(1000).size(), 1000U);
  const fs::path moved = nginx.directory() / "access.1";
  fs::rename(nginx.directory() / "access", moved);
  const auto old = nginx.Workers();
  ASSERT_NO_FATAL_FAILURE(nginx.Signal(SIGHUP));
  Outcome why;
  pid_t holder = 0;
  EXPECT_TRUE(Eventually([&] {
    why = Why(moved);
    int holders = 0;
    for (const pid_t worker : old) {
      if (!Says(why, Writes(worker, "nginx"))) continue;
      ++holders;
      holder = worker;
    }
    return holders == 1 && !Says(why, Writes(nginx.pid(), "nginx"));
  })) << why.All();
  ExpectOpenUntil(moved, "process " + std::to_string(holder) + " (nginx) has it open for writing", [&] {
    slow->ReadSome(64 << 20);
    EXPECT_TRUE(Eventually([&] { return !Says(Why(moved), "writes: "); }));
  });
  EXPECT_EQ(FileText(moved), "/big 200\n") << "the last line is in what was processed";
}

// ---- every way to keep a file open ----

TEST_F(Sealed, ADescriptorThatAForkedChildInheritedKeepsALogOpenAfterItsOpenerClosedIt) {
  const fs::path log = Log();
  os::Fd fd(::open(log.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  Holder child([] {});
  fd.Reset();
  const Outcome why = Why(log);
  EXPECT_TRUE(Says(why, Writes(child.pid(), self_))) << why.All();
  EXPECT_FALSE(Says(why, Writes(::getpid(), self_))) << why.All();
  ExpectOpenUntil(log, "process " + std::to_string(child.pid()) + " (" + self_ + ") has it open for writing",
                  [&] { child.Leave(); });
}

TEST_F(Sealed, AWritableMappingKeepsALogOpenAfterTheDescriptorIsClosed) {
  const fs::path log = Log();
  Holder child([&] {
    const int fd = ::open(log.c_str(), O_RDWR);
    if (::mmap(nullptr, 4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED) ::_exit(1);
    ::close(fd);
  });
  const Outcome why = Why(log);
  EXPECT_TRUE(Says(why, Writes(child.pid(), self_))) << why.All();
  ExpectOpenUntil(log, "process " + std::to_string(child.pid()) + " (" + self_ + ") has it open for writing",
                  [&] { child.Leave(); });
}

TEST_F(Sealed, AMappingForReadingThatMayBecomeWritableIsNamedToo) {
  const fs::path log = Log();
  Holder child([&] {
    const int fd = ::open(log.c_str(), O_RDWR);
    if (::mmap(nullptr, 4, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED) ::_exit(1);
    ::close(fd);
  });
  EXPECT_TRUE(Says(Why(log), "maps: process " + std::to_string(child.pid()) + " (" + self_ + ")")) << Why(log).All();
  ExpectOpenUntil(log, "process " + std::to_string(child.pid()) + " (" + self_ + ") has it mapped",
                  [&] { child.Leave(); });
}

TEST_F(Sealed, ADescriptorOnItsWayThroughASocketKeepsALogOpenAndWhySaysThatProcDoesNotShowIt) {
  const fs::path log = Log();
  int ends[2] = {-1, -1};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  {
    os::Fd fd(::open(log.c_str(), O_WRONLY | O_CLOEXEC));
    char byte = 0;
    iovec data{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    *reinterpret_cast<int*>(CMSG_DATA(header)) = fd.get();
    ASSERT_EQ(::sendmsg(ends[0], &message, 0), 1);
  }
  ExpectOpenUntil(log, ::geteuid() == 0 ? "a process that /proc does not show has it open for writing" : "root can see",
                  [&] {
                    ::close(ends[0]);
                    ::close(ends[1]);
                  });
}

TEST_F(Sealed, ReadersDoNotKeepALogOpenAndWhyNamesThem) {
  const fs::path log = Log();
  Holder reader([&] {
    const int fd = ::open(log.c_str(), O_RDONLY);
    const int mapped = ::open(log.c_str(), O_RDONLY);
    if (fd < 0 || ::mmap(nullptr, 4, PROT_READ, MAP_SHARED, mapped, 0) == MAP_FAILED) ::_exit(1);
  });
  const Outcome why = Why(log);
  EXPECT_TRUE(Says(why, ": process " + std::to_string(reader.pid()) + " (" + self_ + "), running since ")) << why.All();
  EXPECT_FALSE(Says(why, "writes: ")) << why.All();
  EXPECT_TRUE(Says(why, "sealed: no process can write to it")) << why.All();
  EXPECT_EQ(Run(log.string()).status, 0);
  EXPECT_EQ(Processed("a.1"), "1\n");
}

// The directory of a process in /proc has the time of the first look at it, not of the process: "since now", each time.
TEST_F(Sealed, WhySaysSinceWhenTheHolderRunsAndNotSinceWhenSomebodyLooked) {
  const fs::path log = Log();
  const time_t before = ::time(nullptr);
  Holder holder([&] { ::open(log.c_str(), O_WRONLY); });
  const time_t after = ::time(nullptr);
  ASSERT_TRUE(Eventually([&] { return ::time(nullptr) > after + 1; }));
  const Outcome why = Why(log);
  bool found = false;
  for (time_t at = before - 1; at <= after; ++at) {  // the kernel counts in hundredths, from another zero
    char text[64];
    tm fields{};
    std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", ::localtime_r(&at, &fields));
    found = found || Says(why, Writes(holder.pid(), self_) + text);
  }
  EXPECT_TRUE(found) << why.All();
}

// ---- what one user, or one container, cannot see ----

TEST_F(Sealed, AHolderInAnotherPidNamespaceIsNamedFromOutsideAndMissedInWordsFromInside) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can make the namespaces";
  const std::vector<std::string> inside = {logs::Find("unshare"), "--pid", "--fork", "--mount-proc", "--kill-child"};
  if (e2e::Execute({inside[0], "--pid", "--fork", "--mount-proc", "--kill-child", "true"}).status != 0) {
    GTEST_SKIP() << "no namespaces in this container";
  }
  const fs::path log = Log();
  const fs::path gate = root_ / "gate";
  ASSERT_EQ(::mkfifo(gate.c_str(), 0600), 0);
  os::Fd held(::open(gate.c_str(), O_RDWR | O_CLOEXEC));
  auto words = inside;
  words.insert(words.end(), {"sh", "-c", "exec 5>>" + log.string() + "; read x <" + gate.string()});
  e2e::Running holder(words, root_ / "holder");
  Outcome why;
  EXPECT_TRUE(Eventually([&] {
    why = Why(log);
    return Says(why, "(dash) has it open for writing");
  })) << why.All();
  words = inside;
  words.insert(words.end(), {e2e::Program("processlogs"), "why", log.string()});
  const Outcome blind = e2e::Execute(words);
  EXPECT_TRUE(Says(blind,
                   "not sealed: a process that /proc does not show has it open for writing: look outside this "
                   "container (pid namespace)"))
      << blind.All();
  EXPECT_EQ(::write(held.get(), "go\n", 3), 3);
  EXPECT_EQ(holder.Wait().status, 0);
  EXPECT_TRUE(Says(Why(log), "sealed: no process can write to it"));
}

class SealedAsAUser : public Sealed {
 protected:
  void SetUp() override {
    Sealed::SetUp();
    if (::geteuid() != 0) GTEST_SKIP() << "we are such a user already";
    if (logs::Find("setpriv").empty()) GTEST_SKIP() << "setpriv is not installed";
    ::chmod(root_.c_str(), 0777);
  }
  Outcome AsUser(std::vector<std::string> words) const {
    words.insert(words.begin(),
                 {logs::Find("setpriv"), "--reuid=33", "--regid=33", "--clear-groups", e2e::Program("processlogs")});
    return e2e::Execute(words);
  }
};

TEST_F(SealedAsAUser, AWriterOfAnotherUserKeepsTheLogOpenAndWhySaysThatRootCanNameIt) {
  const fs::path log = Log();
  ASSERT_EQ(::chown(log.c_str(), 33, 33), 0);
  {
    Holder holder([&] { ::open(log.c_str(), O_WRONLY); });
    const Outcome why = AsUser({"why", log.string()});
    EXPECT_TRUE(Says(why, "not sealed: a process of another user has it open for writing: root can see which"))
        << why.All();
  }
  EXPECT_TRUE(Says(AsUser({"why", log.string()}), "sealed: no process can write to it"));
}

TEST_F(SealedAsAUser, ALogOfAnotherOwnerIsObservedOnly) {
  const fs::path log = Log();
  const Outcome why = AsUser({"why", log.string()});
  EXPECT_TRUE(Says(why,
                   "not sealed: only its owner or root may ask the kernel who writes to it: no writer was observed, "
                   "which is enough with --min-age only"))
      << why.All();
  const std::string ledger = (root_ / "ledger").string();
  Outcome run = AsUser({"run", "--ledger", ledger, "--dry-run", log.string(), "--", "true"});
  EXPECT_TRUE(Says(run, "only its owner or root may ask")) << run.All();
}

// ---- where the kernel cannot say ----

TEST_F(Sealed, WithoutLeasesAnOldLogIsObservedAndNeedsAMinimumAge) {
  const std::vector<std::string> shim = {"LD_PRELOAD=" LEASE_SHIM, "LEASE_SHIM=none",
                                         "ASAN_OPTIONS=verify_asan_link_order=0"};
  const fs::path log = Log();
  const timespec old[2] = {{1'700'000'000, 0}, {1'700'000'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, log.c_str(), old, 0), 0);
  const Outcome without = Run(log.string(), {}, shim);
  EXPECT_EQ(without.status, 0) << without.All();
  EXPECT_TRUE(Says(without,
                   "its file system has no leases, so the kernel cannot say who writes to it: no writer was "
                   "observed, which is enough with --min-age only"))
      << without.All();
  {
    Holder holder([&] { ::open(log.c_str(), O_WRONLY); });
    const Outcome held = Run(log.string(), {"--min-age", "60"}, shim);
    EXPECT_TRUE(Says(held, "process " + std::to_string(holder.pid()) + " (" + self_ + ") has it open for writing"))
        << held.All();
  }
  EXPECT_EQ(Processed("a.1"), "");
  const Outcome dry = Run(log.string(), {"--min-age", "60", "--dry-run"}, shim);
  EXPECT_TRUE(Says(dry, "observed, not certain")) << dry.All();
  EXPECT_EQ(Run(log.string(), {"--min-age", "60"}, shim).status, 0);
  EXPECT_EQ(Processed("a.1"), "1\n");
}

// The kernel grants a lease on a FUSE file while the file behind it is being written: it knows this mount only.
TEST_F(Sealed, OnFuseALeaseIsNotTakenForCertainty) {
  if (::geteuid() != 0 || ::access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "FUSE cannot be mounted here";
  if (logs::Find("bindfs").empty()) GTEST_SKIP() << "bindfs is not installed";
  const fs::path log = Log();
  const fs::path mount = root_ / "mount";
  fs::create_directory(mount);
  e2e::Running fuse({logs::Find("bindfs"), "-f", (root_ / "logs").string(), mount.string()}, root_ / "bindfs");
  if (!Eventually([&] { return fs::exists(mount / "a.1") || fuse.HasEnded(); }) || fuse.HasEnded()) {
    GTEST_SKIP() << "FUSE cannot be mounted here: " << FileText(root_ / "bindfs.err");
  }
  {
    Holder holder([&] { ::open(log.c_str(), O_WRONLY); });
    const Outcome why = Why(mount / "a.1");
    EXPECT_TRUE(Says(why, "not sealed: on its file system (network or FUSE) the kernel does not see every writer"))
        << why.All();
    const Outcome behind = Why(log);
    EXPECT_TRUE(Says(behind, Writes(holder.pid(), self_))) << behind.All();
  }
  {
    Holder holder([&] { ::open((mount / "a.1").c_str(), O_WRONLY); });
    EXPECT_TRUE(Says(Why(mount / "a.1"), "not sealed: process " + std::to_string(holder.pid())))
        << Why(mount / "a.1").All();
  }
  EXPECT_EQ(e2e::Execute({logs::Find("umount"), mount.string()}).status, 0);
  fuse.Wait();
}

// ---- the question does not disturb anybody ----

TEST_F(Sealed, AWriterThatOpensTheLogWhileWeHoldTheLeaseDoesNotEndUs) {
  const std::vector<std::string> shim = {"LD_PRELOAD=" LEASE_SHIM, "LEASE_SHIM=opener",
                                         "ASAN_OPTIONS=verify_asan_link_order=0"};
  const fs::path log = Log();
  const Outcome why = Why(log, shim);
  EXPECT_EQ(why.status, 0) << why.All();
  EXPECT_NE(why.err.find("broken lease"), std::string::npos) << why.All();
  EXPECT_TRUE(Says(why, "sealed")) << "it was, when we asked";
  const Outcome run = Run(log.string(), {}, shim);
  EXPECT_EQ(run.status, 0) << run.All();
  EXPECT_NE(run.err.find("broken lease"), std::string::npos) << run.All();
}

TEST_F(Sealed, TheLeaseIsGivenBackBeforeTheCommandRuns) {
  const fs::path log = Log();
  const fs::path gate = root_ / "gate";
  ASSERT_EQ(::mkfifo(gate.c_str(), 0600), 0);
  os::Fd held(::open(gate.c_str(), O_RDWR | O_CLOEXEC));
  e2e::Running run({e2e::Program("processlogs"), "run", "--ledger", (root_ / "ledger").string(), log.string(), "--",
                    "sh", "-c", ": >" + (root_ / "started").string() + "; read x <" + gate.string()},
                   root_ / "run");
  ASSERT_TRUE(Eventually([&] { return fs::exists(root_ / "started"); }));
  // With O_NONBLOCK an opener that would have to wait for a lease gets EWOULDBLOCK.
  os::Fd writer(::open(log.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC));
  EXPECT_TRUE(writer.valid()) << std::strerror(errno);
  EXPECT_EQ(::write(held.get(), "go\n", 3), 3);
  const Outcome done = run.Wait();
  EXPECT_EQ(done.status, 0) << done.All();
}

TEST_F(Sealed, AWriterThatOpensInATightLoopIsNeverHeldUpByALease) {
  std::vector<fs::path> segments;
  for (int i = 0; i < 40; ++i) segments.push_back(Log("a." + std::to_string(i)));
  std::atomic<bool> stop = false;
  std::atomic<int> opened = 0, failed = 0;
  std::chrono::duration<double> longest{0};
  std::thread writer([&] {
    for (size_t i = 0; !stop; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      const int fd = ::open(segments[i % segments.size()].c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
      longest = std::max(longest, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin));
      ++(fd < 0 ? failed : opened);
      if (fd >= 0) ::close(fd);
    }
  });
  for (int i = 0; i < 5; ++i) {
    const Outcome run = Run((root_ / "logs" / "*").string(), {"--dry-run"});
    EXPECT_EQ(run.status, 0) << run.All();
  }
  stop = true;
  writer.join();
  EXPECT_EQ(failed, 0);
  EXPECT_GT(opened, 0);
  // A lease that is kept holds an opener up for as long as the kernel is patient.
  const double patience = std::atof(FileText("/proc/sys/fs/lease-break-time").c_str());
  EXPECT_LT(longest.count(), patience / 4);
}

}  // namespace
