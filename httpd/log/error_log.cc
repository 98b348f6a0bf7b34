#include "httpd/log/error_log.h"

#include <limits.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <cstdio>
#include <ctime>

namespace httpd::log {

std::string_view LevelName(config::LogLevel level) {
  static constexpr std::string_view kNames[] = {"emerg",  "alert",  "crit",   "error",  "warn",   "notice",
                                                "info",   "debug",  "trace1", "trace2", "trace3", "trace4",
                                                "trace5", "trace6", "trace7", "trace8"};
  return kNames[static_cast<size_t>(level)];
}

void ErrorLog::Write(config::LogLevel level, std::string_view module, std::string_view text,
                     std::string_view client) const {
  if (!Wants(level)) return;
  timeval now{};
  ::gettimeofday(&now, nullptr);
  std::tm parts{};
  ::localtime_r(&now.tv_sec, &parts);
  char day[32];
  char year[16];
  std::strftime(day, sizeof day, "%a %b %d %H:%M:%S", &parts);
  std::strftime(year, sizeof year, "%Y", &parts);
  char head[160];
  const int length = std::snprintf(head, sizeof head, "[%s.%06ld %s] [%.*s:%.*s] [pid %d:tid %ld] ", day,
                                   static_cast<long>(now.tv_usec), year, static_cast<int>(module.size()), module.data(),
                                   static_cast<int>(LevelName(level).size()), LevelName(level).data(), ::getpid(),
                                   ::syscall(SYS_gettid));
  std::string line(head, static_cast<size_t>(length));
  if (!client.empty()) line.append("[client ").append(client).append("] ");
  for (const char c : text) {  // a client's bytes must not forge a line or drive a terminal
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n' && client.empty()) {
      line += ' ';
    } else if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !client.empty())) {
      char escaped[8];
      std::snprintf(escaped, sizeof escaped, "\\x%02x", byte);
      line += escaped;
    } else {
      line += c;
    }
  }
  const size_t limit = (sink_ && sink_->is_pipe ? size_t{PIPE_BUF} : size_t{8192}) - 1;
  if (line.size() > limit) line.resize(limit);
  line += '\n';
  const int fd = sink_ ? sink_->fd.get() : 2;
  ssize_t n;
  do {
    n = ::write(fd, line.data(), line.size());
  } while (n < 0 && errno == EINTR);
}

}  // namespace httpd::log
