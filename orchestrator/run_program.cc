#include "orchestrator/run_program.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "os/clock.h"

namespace orchestrator {

namespace {

constexpr size_t kMaxOut = 16U << 20;
constexpr size_t kMaxErr = 64U << 10;

/// False at the end of the pipe.
bool ReadSome(const os::Fd& pipe, std::string& into, size_t max_bytes) {
  char buffer[8192];
  for (;;) {
    const ssize_t n = ::read(pipe.get(), buffer, sizeof buffer);
    if (n == 0) return false;
    if (n < 0) return errno == EAGAIN || errno == EINTR;
    const size_t room = max_bytes - std::min(max_bytes, into.size());
    into.append(buffer,
                std::min(room, static_cast<size_t>(n)));  // the rest is read and dropped: nobody may block on us
  }
}

}  // namespace

void DrainPipe(const os::Fd& pipe, std::string& into, size_t max_bytes) {
  ReadSome(pipe, into, max_bytes);
}

os::Result<Output> RunProgram(os::SpawnOptions options, std::chrono::milliseconds limit) {
  int out_ends[2];
  int err_ends[2];
  if (::pipe2(out_ends, O_CLOEXEC | O_NONBLOCK) != 0) return os::SysError(errno, "make a pipe");
  os::Fd out_read(out_ends[0]);
  os::Fd out_write(out_ends[1]);
  if (::pipe2(err_ends, O_CLOEXEC | O_NONBLOCK) != 0) return os::SysError(errno, "make a pipe");
  os::Fd err_read(err_ends[0]);
  os::Fd err_write(err_ends[1]);
  // Only our ends may be non-blocking: a program that writes more than a pipe holds has to wait, not to fail.
  ::fcntl(out_write.get(), F_SETFL, 0);
  ::fcntl(err_write.get(), F_SETFL, 0);
  options.descriptors.emplace_back(out_write.get(), 1);
  options.descriptors.emplace_back(err_write.get(), 2);
  auto started = os::Spawn(options);
  if (!started) return started.error();
  out_write.Reset();
  err_write.Reset();
  const os::ProcessHandle process = std::move(started).value();
  const os::SystemClock clock;
  const auto deadline = clock.SteadyNow() + limit;
  Output output;
  bool out_open = true;
  bool err_open = true;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - clock.SteadyNow());
    pollfd entries[3] = {{process.fd().get(), POLLIN, 0},
                         {out_open ? out_read.get() : -1, POLLIN, 0},
                         {err_open ? err_read.get() : -1, POLLIN, 0}};
    const int n = left.count() > 0 ? ::poll(entries, 3, static_cast<int>(left.count())) : 0;
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      if (auto killed = process.Signal(SIGKILL); killed) process.WaitForEnd(-1);
      process.TryReap();
      return os::Error{os::ErrorKind::kTimeout, 0,
                       options.program.string() + " did not end within " +
                           std::to_string(std::chrono::duration_cast<std::chrono::seconds>(limit).count()) +
                           " s and was killed"};
    }
    out_open = out_open && ReadSome(out_read, output.out, kMaxOut);
    err_open = err_open && ReadSome(err_read, output.err, kMaxErr);
    if (entries[0].revents != 0) {
      if (const auto exit = process.TryReap()) output.exit = *exit;
      if (out_open) ReadSome(out_read, output.out, kMaxOut);
      if (err_open) ReadSome(err_read, output.err, kMaxErr);
      return output;
    }
  }
}

std::string FirstSentence(const std::string& text) {
  std::string sentence;
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(at, end - at);
    at = end + 1;
    while (!line.empty() && (line.back() == ' ' || line.back() == '\r' || line.back() == '\t')) line.pop_back();
    if (line.empty()) continue;
    sentence += sentence.empty() ? line : " " + line;
    if (line.back() != ':') break;
  }
  return sentence;
}

}  // namespace orchestrator
