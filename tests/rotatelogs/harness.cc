#include "tests/rotatelogs/harness.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <thread>
#include <tuple>

#include "os/file.h"

namespace harness {

namespace fs = std::filesystem;

TempDir::TempDir(const fs::path& parent) {
  ::signal(SIGPIPE, SIG_IGN);
  std::string name = (parent / "rotatelogs-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "mkdtemp " << name;
  path_ = name;
  fs::permissions(path_, fs::perms(0755));
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::pair<os::Fd, os::Fd> Pipe() {
  int ends[2] = {-1, -1};
  EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  return {os::Fd(ends[0]), os::Fd(ends[1])};
}

Child Start(const StartOptions& options) {
  os::Fd in_read;
  os::Fd in_write;
  if (options.input < 0) std::tie(in_read, in_write) = Pipe();
  auto [out_read, out_write] = Pipe();
  auto [err_read, err_write] = Pipe();
  os::SpawnOptions spawn;
  spawn.program = options.argv[0];
  spawn.arguments = options.argv;
  spawn.environment = os::Environment();
  for (const auto& entry : options.environment) spawn.environment.push_back(entry);
  spawn.descriptors = {
      {options.input < 0 ? in_read.get() : options.input, 0}, {out_write.get(), 1}, {err_write.get(), 2}};
  spawn.directory = options.directory;
  spawn.limits = options.limits;
  if (options.nonblocking_input) ::fcntl(in_read.get(), F_SETFL, O_NONBLOCK);
  if (options.uid) {
    spawn.uid = options.uid;
    spawn.gid = *options.uid;
  }
  auto started = os::Spawn(spawn);
  EXPECT_TRUE(started) << started.error().Text();
  Child out;
  if (started) out.process = std::move(started).value();
  out.in = std::move(in_write);
  out.out = std::move(out_read);
  out.err = std::move(err_read);
  return out;
}

int Wait(Child& child, int seconds) {
  if (!child.process.WaitForEnd(seconds * 1000)) {
    (void)child.process.Signal(SIGKILL).has_value();
    child.process.WaitForEnd(5000);
    child.process.TryReap();
    return -1;
  }
  const auto status = child.process.TryReap();
  if (!status) return -1;
  return status->signaled ? 1000 + status->code : status->code;
}

bool Write(const os::Fd& fd, std::string_view data) {
  return os::WriteAll(fd, data).has_value();
}

std::string ReadUntil(const os::Fd& fd, const std::string& text, int seconds) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  std::string out;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
    if (left <= 0) return out;
    pollfd entry{fd.get(), POLLIN, 0};
    if (::poll(&entry, 1, static_cast<int>(left)) <= 0) continue;
    char buffer[65536];
    const ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n <= 0) return out;
    out.append(buffer, static_cast<size_t>(n));
    if (!text.empty() && out.find(text) != std::string::npos) return out;
  }
}

std::string ReadToEnd(const os::Fd& fd, int seconds) {
  return ReadUntil(fd, "", seconds);
}

Outcome Execute(const StartOptions& options, std::string_view input) {
  Child child = Start(options);
  Outcome out;
  std::thread reader([&] { out.out = ReadToEnd(child.out); });  // beside stderr: a full pipe would stop the program
  Write(child.in, input);
  child.in.Reset();
  out.err = ReadToEnd(child.err);
  reader.join();
  out.status = Wait(child);
  return out;
}

std::map<std::string, std::string> Files(const fs::path& directory) {
  std::map<std::string, std::string> out;
  for (auto at = fs::recursive_directory_iterator(directory); at != fs::recursive_directory_iterator(); ++at) {
    if (at->path().filename().string().starts_with('.') && at->is_directory()) {
      at.disable_recursion_pending();
      continue;
    }
    if (!at->is_regular_file()) continue;
    auto content = os::ReadFile(at->path(), size_t{1} << 30);
    if (!content && content.error().kind == os::ErrorKind::kNotFound) continue;  // renamed just now
    out[at->path().lexically_relative(directory).string()] = content ? content.value() : "(unreadable)";
  }
  return out;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::string FirstLine(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

}  // namespace harness
