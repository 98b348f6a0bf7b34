#include "httpd/modules/cgi_program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace httpd::modules {

using State = net::BodySource::State;

namespace {

constexpr std::chrono::milliseconds kPatience(3000);  // as Apache's
constexpr size_t kLineBytes = 1024;
constexpr size_t kStderrBytes = 1U << 20;

struct Pipe {
  os::Fd read;
  os::Fd write;
};

os::Result<Pipe> MakePipe() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os::SysError(errno, "make a pipe");
  return Pipe{os::Fd(ends[0]), os::Fd(ends[1])};
}

/// Of our end only: the program's stays as programs expect it.
void MakeNonBlocking(const os::Fd& fd) {
  ::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) | O_NONBLOCK);
}

}  // namespace

os::Result<std::shared_ptr<CgiProgram>> CgiProgram::Start(net::Reactor& reactor, os::SpawnOptions options,
                                                          net::Waker waker, LineSink on_stderr) {
  auto input = MakePipe();
  if (!input) return input.error();
  auto output = MakePipe();
  if (!output) return output.error();
  auto errors = MakePipe();
  if (!errors) return errors.error();
  options.descriptors = {
      {input.value().read.get(), 0}, {output.value().write.get(), 1}, {errors.value().write.get(), 2}};
  options.new_session = true;
  options.parent_death_signal = SIGTERM;
  auto process = os::Spawn(options);
  if (!process) return process.error();
  std::shared_ptr<CgiProgram> program(new CgiProgram(reactor, std::move(waker), std::move(on_stderr)));
  program->process_ = std::move(process).value();
  program->input_ = std::move(input.value().write);
  program->output_ = std::move(output.value().read);
  program->errors_ = std::move(errors.value().read);
  for (const os::Fd* fd : {&program->input_, &program->output_, &program->errors_}) MakeNonBlocking(*fd);
  if (auto watched = program->Watch(); !watched) {
    program->Signal(SIGKILL);
    return watched.error();
  }
  reactor.Keep(program);
  return program;
}

os::Status CgiProgram::Watch() {
  auto add = [this](std::unique_ptr<net::Watch>& place, int fd, uint32_t events,
                    void (CgiProgram::*call)()) -> os::Status {
    auto watch = reactor_.WatchDescriptor(fd, events, [this, call](uint32_t) { (this->*call)(); });
    if (!watch) return watch.error();
    place = std::move(watch).value();
    return os::kDone;
  };
  if (auto done = add(input_watch_, input_.get(), 0, &CgiProgram::FlushInput); !done) return done;
  if (auto done = add(output_watch_, output_.get(), EPOLLIN, &CgiProgram::OnOutput); !done) return done;
  if (auto done = add(errors_watch_, errors_.get(), EPOLLIN, &CgiProgram::OnStderr); !done) return done;
  return add(end_watch_, process_.fd().get(), EPOLLIN, &CgiProgram::OnEnd);
}

CgiProgram::~CgiProgram() {
  if (!has_ended_) Signal(SIGTERM);  // its loop ends
}

void CgiProgram::Signal(int number) {
  if (has_ended_) return;
  if (::kill(-process_.pid(), number) != 0) [[maybe_unused]]
    const os::Status told = process_.Signal(number);
}

bool CgiProgram::Write(std::string_view data) {
  if (!input_.valid()) return false;
  unsent_ += data;
  FlushInput();
  return input_.valid();
}

void CgiProgram::EndInput() {
  input_ends_ = true;
  FlushInput();
}

void CgiProgram::FlushInput() {
  if (!input_.valid()) return;
  const bool had_room = HasRoom();
  size_t done = 0;
  bool broken = false;
  while (done < unsent_.size()) {
    const ssize_t n = ::write(input_.get(), unsent_.data() + done, unsent_.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      broken = errno != EAGAIN;
      break;
    }
    done += static_cast<size_t>(n);
  }
  unsent_.erase(0, broken ? unsent_.size() : done);
  if (broken || (unsent_.empty() && input_ends_)) {
    input_watch_.reset();
    input_.Reset();
  } else {
    input_watch_->Want(unsent_.empty() ? 0U : uint32_t{EPOLLOUT});
  }
  if (!had_room && HasRoom()) waker_.Wake();
}

void CgiProgram::OnOutput() {
  if (!reads_past_) {
    output_watch_->Want(0);
    waker_.Wake();
    return;
  }
  std::string past;
  const State state = Read(past, 64U << 10);
  if (state == State::kEnd) Finish();
}

State CgiProgram::Read(std::string& out, size_t most) {
  if (!output_.valid()) return State::kEnd;
  const size_t before = out.size();
  out.resize(before + most);
  ssize_t n;
  do {
    n = ::read(output_.get(), out.data() + before, most);
  } while (n < 0 && errno == EINTR);
  const int sys = errno;
  out.resize(before + static_cast<size_t>(std::max<ssize_t>(n, 0)));
  if (n > 0) return State::kMore;
  if (n < 0 && sys == EAGAIN) {
    output_watch_->Want(EPOLLIN);
    return State::kWait;
  }
  output_watch_.reset();
  output_.Reset();
  return State::kEnd;
}

void CgiProgram::OnStderr() {
  char buffer[8192];
  const ssize_t n = ::read(errors_.get(), buffer, sizeof buffer);
  if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
  if (n <= 0) {
    FlushLine();
    errors_watch_.reset();
    errors_.Reset();
    return;
  }
  if (is_dropped_) return;
  for (std::string_view rest(buffer, static_cast<size_t>(n)); !rest.empty();) {
    const size_t end = rest.find('\n');
    const std::string_view part = rest.substr(0, end);
    line_ += part.substr(0, kLineBytes - std::min(kLineBytes, line_.size()));
    if (end == std::string_view::npos) break;
    FlushLine();
    rest.remove_prefix(end + 1);
  }
  stderr_bytes_ += static_cast<size_t>(n);
  if (stderr_bytes_ < kStderrBytes) return;
  is_dropped_ = true;
  line_.clear();
  on_stderr_("(more than 1 MiB: the rest is not logged)");
}

void CgiProgram::FlushLine() {
  if (!line_.empty() && line_.back() == '\r') line_.pop_back();
  if (!line_.empty()) on_stderr_(line_);
  line_.clear();
}

void CgiProgram::OnEnd() {
  if (!process_.TryReap() && !process_.HasEnded()) return;
  has_ended_ = true;
  end_watch_.reset();
  patience_.reset();
  // Its last words may still be in the pipe; its children may go on to write there, to nobody.
  while (errors_.valid()) {
    const size_t before = stderr_bytes_;
    OnStderr();
    if (stderr_bytes_ == before) break;
  }
  FlushLine();
  errors_watch_.reset();
  if (input_watch_) {
    input_watch_.reset();
    input_.Reset();
    unsent_.clear();
  }
  waker_.Wake();
  reactor_.LetGo(this);  // whoever answers from it holds it, too
}

void CgiProgram::Finish() {
  if (has_ended_) return;
  waker_ = {};
  reads_past_ = false;
  output_watch_.reset();
  output_.Reset();
  input_watch_.reset();
  input_.Reset();
  unsent_.clear();
  patience_ = reactor_.After(kPatience, [this] { Abort(); });
}

void CgiProgram::Abort() {
  if (has_ended_) return;
  Finish();
  Signal(SIGTERM);
  patience_ = reactor_.After(kPatience, [this] { Signal(SIGKILL); });
}

void CgiProgram::ReadPast() {
  if (has_ended_ || !output_.valid()) {
    Finish();
    return;
  }
  waker_ = {};
  reads_past_ = true;
  output_watch_->Want(EPOLLIN);
}

}  // namespace httpd::modules
