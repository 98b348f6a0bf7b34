#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "os/clock.h"
#include "rotatelogs/inspect_ledger.h"
#include "rotatelogs/processlogs_options.h"
#include "rotatelogs/processor.h"
#include "rotatelogs/verify.h"

namespace {

void Say(std::string_view line) {
  std::fprintf(stdout, "%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

void Complain(std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

/// Where the progress line goes. None where the commands themselves write to the terminal.
int Terminal(const rotatelogs::RunOptions& options) {
  if (options.json || options.dry_run) return -1;
  const bool out = ::isatty(STDOUT_FILENO);
  if (out && options.out.empty() && !options.command.empty()) return -1;
  if (::isatty(STDERR_FILENO)) return STDERR_FILENO;
  return out ? STDOUT_FILENO : -1;
}

struct Runner {
  os::SystemClock clock;
  int operator()(const rotatelogs::RunOptions& options) {
    const auto outcome = rotatelogs::RunProcesslogs(options, clock, Terminal(options), Say, Complain);
    if (outcome.signal != 0) {  // the caller shall see what ended us
      ::signal(outcome.signal, SIG_DFL);
      sigset_t one;
      ::sigemptyset(&one);
      ::sigaddset(&one, outcome.signal);
      ::raise(outcome.signal);
      ::sigprocmask(SIG_UNBLOCK, &one, nullptr);
    }
    return outcome.status;
  }
  int operator()(const rotatelogs::StatusCommand& command) {
    return rotatelogs::ShowStatus(command.ledger, command.json, Say, Complain);
  }
  int operator()(const rotatelogs::WhyCommand& command) {
    return rotatelogs::ShowWhy(command.ledger, command.segment, clock, Say, Complain);
  }
  int operator()(const rotatelogs::RetryCommand& command) {
    return rotatelogs::Retry(command.ledger, command.segments, Say, Complain);
  }
  int operator()(const rotatelogs::VerifyCommand& command) {
    return rotatelogs::Verify(command.ledger, command.json, Say, Complain);
  }
  int operator()(const rotatelogs::HelpCommand& command) {
    std::fputs(command.text.c_str(), stdout);
    return 0;
  }
  int operator()(const rotatelogs::UsageError& error) {
    Complain("processlogs: " + error.message + "; see processlogs --help");
    return 2;
  }
};

}  // namespace

int main(int argc, char** argv) {
  return std::visit(Runner{}, rotatelogs::ParseProcesslogs(std::vector<std::string>(argv, argv + argc)));
}
