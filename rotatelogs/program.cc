#include "rotatelogs/program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "rotatelogs/writer.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::Error;

namespace {

constexpr size_t kReadBytes = size_t{256}
                              << 10;  // more would not fit into the processor's caches on its way through us

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
      : settings_(settings), clock_(clock), writer_(settings, clock, SayToStderr, [] { return g_stop != 0; }) {}

  int Run() {
    if (!Prepare()) return 3;
    if (settings_.open_first) {
      if (auto opened = writer_.Open(); !opened) return Fail(opened.error());
    }
    for (;;) {
      switch (WaitForInput()) {
        case InputState::kFailed:
          return 2;
        case InputState::kEnd:
        case InputState::kData:
          break;
      }
      const ssize_t n = ::read(g_input, buffer_.data() + used_, kReadBytes);
      TellForked();
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) {
        pollfd entry{g_input, POLLIN, 0};
        ::poll(&entry, 1, 1000);
        continue;
      }
      if (n < 0) return 3;
      if (n == 0) return g_stop ? Stop() : Finish();
      if (const int status = Take(static_cast<size_t>(n)); status != 0) return status;
      // Little came: wait a moment for more. It waits in the pipe, which outlives us, and a write per line becomes one
      // write per few milliseconds.
      if (static_cast<size_t>(n) < small_read_) clock_.Sleep(4ms);
    }
  }

 private:
  bool Prepare() {
    buffer_.resize(2 * kMaxLineBytes);
    g_input = ::fcntl(0, F_DUPFD_CLOEXEC, 3);
    if (g_input < 0) return false;
    ::fcntl(0, F_SETPIPE_SZ, 1 << 20);
    const int capacity = ::fcntl(0, F_GETPIPE_SZ);
    if (capacity > 0 && !settings_.strict)
      small_read_ = std::min<size_t>(16384, static_cast<size_t>(capacity) / 4);
    else
      small_read_ = 0;  // a file or a socket: nothing is gained; --strict: as it comes
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

  /// Puts the whole lines of the buffer, now `count` bytes longer, and keeps the rest.
  int Take(size_t count) {
    const char* fresh = buffer_.data() + used_;
    used_ += count;
    const void* newline = ::memrchr(fresh, '\n', count);
    size_t whole = newline ? static_cast<size_t>(static_cast<const char*>(newline) - buffer_.data()) + 1 : 0;
    if (whole == 0 && used_ >= kMaxLineBytes) {
      whole = used_;
      SayToStderr("rotatelogs: a line of more than " + std::to_string(kMaxLineBytes) +
                  " bytes was written in pieces (" + std::to_string(++split_) + " so far)");
    }
    opened_ = opened_ || whole > 0;
    if (whole > 0) {
      if (auto put = writer_.Put({buffer_.data(), whole}); !put) return Fail(put.error());
    }
    if (settings_.echo && !Echo({buffer_.data() + used_ - count, count})) {
      SayToStderr("Unable to write to stdout");
      writer_.Close();
      return 4;
    }
    std::memmove(buffer_.data(), buffer_.data() + whole, used_ - whole);
    used_ -= whole;
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
    if (used_ > 0) {
      // Verbatim; but where others append to the same file, a newline keeps their next line whole.
      std::string tail(buffer_.data(), used_);
      used_ = 0;
      if (auto opened = writer_.Open(); !opened) return Fail(opened.error());
      if (writer_.Shared() && !settings_.strict) tail += '\n';
      if (auto put = writer_.Put(tail); !put) return Fail(put.error());
    }
    writer_.Close();
    return 0;
  }

  /// Ended by a signal: what is in the pipe now is still written; later lines stay there for our successor.
  int Stop() {
    int pending = 0;
    if (::ioctl(0, FIONREAD, &pending) != 0) pending = 0;
    while (pending > 0 || used_ > 0) {
      pollfd entry{0, POLLIN, 0};
      if (::poll(&entry, 1, 100) <= 0 || !(entry.revents & POLLIN)) break;
      // Past `pending` only to reach the end of a line.
      const size_t limit = pending > 0 ? std::min<size_t>(static_cast<size_t>(pending), kMaxLineBytes) : 1;
      const ssize_t n = ::read(0, buffer_.data() + used_, limit);
      if (n <= 0) break;
      pending -= static_cast<int>(n);
      if (const int status = Take(static_cast<size_t>(n)); status != 0) return status;
    }
    return Finish();
  }

  const Settings& settings_;
  os::Clock& clock_;
  Writer writer_;
  std::vector<char> buffer_;
  size_t used_ = 0;
  size_t small_read_ = 0;
  uint64_t split_ = 0;
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
