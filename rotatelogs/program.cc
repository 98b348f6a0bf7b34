#include "rotatelogs/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "rotatelogs/kill_point.h"
#include "rotatelogs/pacing.h"
#include "rotatelogs/writer.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::Error;

namespace {

volatile sig_atomic_t g_stop = 0;    // somebody other than our parent wants us to end
volatile sig_atomic_t g_forked = 0;  // we are the child that drains the pipe
int g_input = -1;                    // the number the loop reads from
int g_end = -1;                      // a descriptor that reads as "end of file"

/// TERM from the server that started us means "a new generation has its own log program": the process it waits for ends
/// at once, and a child goes on until the pipe has no writer left. Any other ending signal makes the loop see the end
/// of its input: dup2() over its descriptor also reaches a read() that is about to begin, which a flag would not.
void OnEnd(int number, siginfo_t* info, void*) {
  const int saved = errno;
  if (number == SIGTERM && !g_forked && info->si_code == SI_USER && info->si_pid == ::getppid()) {
    const pid_t child = ::_Fork();
    if (child > 0) ::_exit(0);
    if (child == 0) ::setsid();
    g_forked = 1;  // without memory for a child we drain ourselves
  } else {
    g_stop = 1;
    ::dup2(g_end, g_input);
  }
  errno = saved;
}

void SayToStderr(std::string_view line) {
  std::string text(line);
  text += '\n';
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(2, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    done += static_cast<size_t>(n);
  }
}

enum class InputState { kData, kEnd, kFailed };

class Program {
 public:
  Program(const Settings& settings, os::Clock& clock)
      : settings_(settings),
        clock_(clock),
        writer_(settings, clock, ReadIdentity(), SayToStderr, [] { return g_stop != 0; }) {}

  int Run() {
    if (!Prepare()) return 3;
    if (settings_.open_first) {
      if (auto opened = writer_.Open(); !opened) return Fail(opened.error());
    }
    writer_.TakeOver();
    if (writer_.Joined() && !writer_.Input().Waiting().empty()) {
      if (const int status = Take(0); status != 0) return status;
    }
    auto last_read = clock_.SteadyNow();
    std::chrono::nanoseconds waited{};
    bool ready = false;
    for (;;) {
      const ssize_t n = Read(ready ? 0 : RWF_NOWAIT);
      TellForked();
      if (n == kNotNow) {
        const auto before = clock_.SteadyNow();
        if (WaitForInput() == InputState::kFailed) return 2;
        if (auto joined = JoinBeforeData(); !joined) return Fail(joined.error());
        waited += clock_.SteadyNow() - before;
        ready = true;
        continue;
      }
      ready = false;
      if (n < 0) return failed_ ? 2 : 3;
      if (n == 0) return g_stop ? Stop() : Finish();
      const auto now = clock_.SteadyNow();
      if (const int status = Take(static_cast<size_t>(n)); status != 0) return status;
      const auto pause = pacing_.After(static_cast<size_t>(n), now - last_read, waited);
      last_read = now;
      waited = {};
      if (pause.count() > 0) clock_.Sleep(pause);
    }
  }

 private:
  static constexpr ssize_t kNotNow = -2;
  static constexpr size_t kMuch = size_t{64} << 10;

  /// Who reads from the same pipe continues our lines; from the same file it would read them again.
  static InputId ReadIdentity() {
    struct stat status {};
    if (::fstat(0, &status) != 0 || !(S_ISFIFO(status.st_mode) || S_ISSOCK(status.st_mode))) return {};
    return {status.st_dev, status.st_ino};
  }

  /// Reads what is there into the writer's spool. @param flags  RWF_NOWAIT where the kernel has it for pipes (6.4), 0
  /// @return the count, 0 at the end, -1 an error, kNotNow: nothing is there yet, or it is not known whether
  ssize_t Read(int flags) {
    if (!writer_.Joined() && flags != 0) return kNotNow;
    if (!writer_.Joined()) return ReadFirst();
    if (flags != 0 && !can_ask_) return kNotNow;
    // Much at a time: when the pipe tells how much there is, the spool need not be wiped for it.
    int pending = 0;
    const bool much = much_ && ::ioctl(g_input, FIONREAD, &pending) == 0 && pending >= static_cast<int>(kMuch);
    const size_t expected = much ? std::min(static_cast<size_t>(pending), Spool::kReadBytes) : 0;
    char* room = writer_.Input().Room(expected);
    iovec target{room, expected > 0 ? expected : Spool::kReadBytes};
    const ssize_t n = flags != 0 ? ::preadv2(g_input, &target, 1, -1, flags) : ::read(g_input, room, target.iov_len);
    const int sys = errno;
    KillPoint("read");
    writer_.Input().Filled(n > 0 ? static_cast<size_t>(n) : 0);
    much_ = n >= static_cast<ssize_t>(kMuch);
    if (n >= 0) return n;
    if (flags != 0 && sys != EAGAIN && sys != EINTR) can_ask_ = false;
    if (flags != 0 || sys == EINTR) return kNotNow;
    if (sys != EAGAIN) return -1;
    pollfd entry{g_input, POLLIN, 0};
    ::poll(&entry, 1, 1000);
    return kNotNow;
  }

  /// The input cannot tell beforehand whether it has data: only the first byte decides that files are made.
  ssize_t ReadFirst() {
    char byte = 0;
    const ssize_t n = ::read(g_input, &byte, 1);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return kNotNow;
    if (n <= 0) return n;
    if (auto joined = writer_.Join(); !joined) return Fail(joined.error()), -1;
    *writer_.Input().Room() = byte;
    writer_.Input().Filled(1);
    return 1;
  }

  /// Joins the other writers when there is a first byte to read, and puts what a predecessor left for us.
  os::Status JoinBeforeData() {
    int pending = 0;
    if (writer_.Joined() || ::ioctl(g_input, FIONREAD, &pending) != 0 || pending <= 0) return os::kDone;
    return writer_.Join();
  }

  bool Prepare() {
    g_input = ::fcntl(0, F_DUPFD_CLOEXEC, 3);
    if (g_input < 0) return false;
    // More would be slower (pages leave the processor's caches before we come to them), and a user's share is limited.
    ::fcntl(0, F_SETPIPE_SZ, 256 << 10);
    const int capacity = ::fcntl(0, F_GETPIPE_SZ);
    // Not a pipe, or --strict: as it comes.
    pacing_ = Pacing(capacity > 0 && !settings_.strict ? static_cast<size_t>(capacity) : 0);
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return false;
    ::close(ends[1]);
    g_end = ends[0];
    ::signal(SIGCHLD, SIG_DFL);
    ::signal(SIGXFSZ, SIG_IGN);
    ::signal(SIGALRM, SIG_IGN);  // a stray one must not end us
    struct sigaction action {};
    action.sa_sigaction = OnEnd;
    action.sa_flags = SA_SIGINFO;
    sigfillset(&action.sa_mask);
    for (const int number : {SIGTERM, SIGINT, SIGHUP}) ::sigaction(number, &action, nullptr);
    return true;
  }

  int Fail(const Error& error) {
    failed_ = true;
    SayToStderr(error.what);
    writer_.Close();
    return 2;
  }

  InputState WaitForInput() {
    for (;;) {
      int timeout = writer_.IdleTimeout();
      if (timeout < 0 && settings_.create_empty && settings_.seconds > 0 && !opened_) {
        timeout = static_cast<int>(std::min<int64_t>(settings_.seconds, 1000000) * 1000);
      }
      pollfd entry{g_input, POLLIN, 0};
      const int n = ::poll(&entry, 1, timeout);
      TellForked();
      if (n > 0) return InputState::kData;
      if (n < 0) continue;  // a signal; if it ends us, there is an end of file to read now
      opened_ = true;
      if (auto done = writer_.Idle(); !done) {
        Fail(done.error());
        return InputState::kFailed;
      }
    }
  }

  void TellForked() {
    if (!g_forked || told_) return;
    told_ = true;
    writer_.Forked();
  }

  /// Puts the whole lines that wait, of which the last `count` bytes are new, and keeps the rest.
  int Take(size_t count) {
    const std::string_view waiting = writer_.Input().Waiting();
    const size_t known = had_rest_ ? waiting.size() - count : 0;
    const size_t newline = waiting.substr(known).rfind('\n');
    size_t whole = newline == std::string_view::npos ? 0 : known + newline + 1;
    if (whole == 0 && waiting.size() >= kMaxLineBytes) {
      whole = waiting.size();
      SayToStderr("rotatelogs: a line of more than " + std::to_string(kMaxLineBytes) +
                  " bytes was written in pieces (" + std::to_string(++split_) + " so far)");
    }
    had_rest_ = true;
    opened_ = opened_ || whole > 0;
    if (whole > 0) {
      if (auto put = writer_.Put(waiting.substr(0, whole)); !put) return Fail(put.error());
    }
    if (settings_.echo && !Echo(waiting.substr(waiting.size() - count))) {
      SayToStderr("Unable to write to stdout");
      writer_.Close();
      return 4;
    }
    return 0;
  }

  static bool Echo(std::string_view data) {
    while (!data.empty()) {
      const ssize_t n = ::write(1, data.data(), data.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        pollfd entry{1, POLLOUT, 0};
        ::poll(&entry, 1, 1000);
        continue;
      }
      if (n <= 0) return false;
      data.remove_prefix(static_cast<size_t>(n));
    }
    return true;
  }

  int Finish() {
    if (writer_.Joined() && !writer_.Input().Waiting().empty()) {
      // Verbatim; but where others append to the same file, a newline keeps their next line whole.
      if (auto opened = writer_.Open(); !opened) return Fail(opened.error());
      if (writer_.Shared() && !settings_.strict) writer_.Input().Append("\n");
      if (auto put = writer_.Put(writer_.Input().Waiting()); !put) return Fail(put.error());
    }
    writer_.Close();
    return 0;
  }

  /// Ended by a signal: what is in the pipe now is still written; later lines stay there for our successor.
  int Stop() {
    int pending = 0;
    if (::ioctl(0, FIONREAD, &pending) != 0) pending = 0;
    if (pending > 0) {
      if (auto joined = writer_.Join(); !joined) return Fail(joined.error());
    }
    while (writer_.Joined() && (pending > 0 || !writer_.Input().Waiting().empty())) {
      pollfd entry{0, POLLIN, 0};
      if (::poll(&entry, 1, 100) <= 0 || !(entry.revents & POLLIN)) break;
      // Past `pending` only to reach the end of a line.
      const size_t limit = pending > 0 ? std::min<size_t>(static_cast<size_t>(pending), Spool::kReadBytes) : 1;
      const ssize_t n = ::read(0, writer_.Input().Room(), limit);
      writer_.Input().Filled(n > 0 ? static_cast<size_t>(n) : 0);
      if (n <= 0) break;
      pending -= static_cast<int>(n);
      if (const int status = Take(static_cast<size_t>(n)); status != 0) return status;
    }
    return Finish();
  }

  const Settings& settings_;
  os::Clock& clock_;
  Writer writer_;
  Pacing pacing_;
  uint64_t split_ = 0;
  bool can_ask_ = true;    ///< whether reads can be told not to wait
  bool much_ = false;      ///< the last read brought kMuch or more
  bool failed_ = false;    ///< the reason has been said
  bool had_rest_ = false;  ///< what waited before the last read has been searched for a newline
  bool told_ = false;
  bool opened_ = false;
};

}  // namespace

int RunRotatelogs(const Settings& settings, os::Clock& clock) {
  // A standard descriptor that is closed would be the number of our log file: fill the gaps. 0 cannot be read then.
  for (int fd = 0; fd < 3; ++fd) {
    if (::fcntl(fd, F_GETFD) < 0 && ::open("/dev/null", O_WRONLY) != fd) return 3;
  }
  if (settings.verbose) {
    std::string text = DescribeSettings(settings);
    text.pop_back();
    SayToStderr(text);
  }
  return Program(settings, clock).Run();
}

}  // namespace rotatelogs
