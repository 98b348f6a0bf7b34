#include <cstdio>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "os/clock.h"
#include "rotatelogs/inspect_ledger.h"
#include "rotatelogs/processlogs_options.h"

namespace {

void Say(std::string_view line) {
  std::fprintf(stdout, "%.*s\n", static_cast<int>(line.size()), line.data());
  std::fflush(stdout);
}

void Complain(std::string_view line) {
  std::fprintf(stderr, "%.*s\n", static_cast<int>(line.size()), line.data());
}

struct Runner {
  os::SystemClock clock;
  int operator()(const rotatelogs::RunOptions& options) {
    return rotatelogs::RunProcesslogs(options, clock, Say, Complain);
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
