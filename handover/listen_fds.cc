#include "handover/listen_fds.h"

#include <fcntl.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>
#include <cstring>

namespace handover {

namespace {

constexpr int kFirstDescriptor = 3;  // SD_LISTEN_FDS_START

bool ParseNumber(std::string_view text, int& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

os::Result<Listener> CopyListener(const Listener& listener) {
  os::Fd copy = listener.fd.Duplicate();
  if (!copy.valid()) {
    const int sys = errno;
    return os::SysError(sys, "copy a listening socket");
  }
  return Listener{listener.address, listener.name, std::move(copy)};
}

os::Result<std::vector<Listener>> TakeListenFds() {
  std::vector<Listener> out;
  const char* pid_text = std::getenv("LISTEN_PID");
  const char* count_text = std::getenv("LISTEN_FDS");
  const char* names_text = std::getenv("LISTEN_FDNAMES");
  const std::string pid_copy = pid_text ? pid_text : "";
  const std::string count_copy = count_text ? count_text : "";
  std::string names = names_text ? names_text : "";
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  ::unsetenv("LISTEN_FDNAMES");
  if (!pid_text || !count_text) return out;
  int pid = 0;
  int count = 0;
  if (!ParseNumber(pid_copy, pid)) {
    return os::Error{os::ErrorKind::kInvalid, 0, "LISTEN_PID is not a number: " + pid_copy};
  }
  if (pid != ::getpid()) return out;
  if (!ParseNumber(count_copy, count) || count < 0 || count > 65536) {
    return os::Error{os::ErrorKind::kInvalid, 0, "LISTEN_FDS is not a count: " + count_copy};
  }
  for (int i = 0; i < count; ++i) {
    const int raw = kFirstDescriptor + i;
    const std::string what = "inherited descriptor " + std::to_string(raw) + " ";
    if (::fcntl(raw, F_GETFD) < 0) return os::Error{os::ErrorKind::kInvalid, 0, what + "is not open"};
    Listener listener;
    listener.fd = os::Fd(raw);
    ::fcntl(raw, F_SETFD, FD_CLOEXEC);
    ::fcntl(raw, F_SETFL, ::fcntl(raw, F_GETFL) | O_NONBLOCK);
    int listening = 0;
    int type = 0;
    socklen_t length = sizeof listening;
    if (::getsockopt(raw, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0 || listening == 0 ||
        ::getsockopt(raw, SOL_SOCKET, SO_TYPE, &type, &length) != 0 || type != SOCK_STREAM) {
      return os::Error{os::ErrorKind::kInvalid, 0, what + "is not a listening stream socket"};
    }
    auto address = os::SocketAddress::OfSocket(listener.fd);
    if (!address) return address.error();
    listener.address = address.value();
    const size_t colon = names.find(':');
    listener.name = names.substr(0, colon);
    names = colon == std::string::npos ? "" : names.substr(colon + 1);
    out.push_back(std::move(listener));
  }
  return out;
}

void GiveListenFds(const std::vector<Listener>& listeners, os::SpawnOptions& options) {
  std::erase_if(options.environment, [](std::string_view entry) {
    return entry.starts_with("LISTEN_FDS=") || entry.starts_with("LISTEN_FDNAMES=") || entry.starts_with("LISTEN_PID=");
  });
  std::string names;
  int number = kFirstDescriptor;
  for (const Listener& listener : listeners) {
    options.descriptors.emplace_back(listener.fd.get(), number++);
    if (!names.empty()) names += ':';
    std::string name = listener.name.empty() ? "listener" : listener.name;
    for (char& c : name) {
      if (c == ':' || c == '\n') c = '-';
    }
    names += name;
  }
  options.environment.push_back("LISTEN_FDS=" + std::to_string(listeners.size()));
  options.environment.push_back("LISTEN_FDNAMES=" + names);
  options.set_listen_pid = true;
}

}  // namespace handover
