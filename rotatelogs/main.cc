#include <cstdio>
#include <string>
#include <variant>
#include <vector>

#include "handover/log_writer_mark.h"
#include "os/clock.h"
#include "rotatelogs/inspect.h"
#include "rotatelogs/policy.h"
#include "rotatelogs/program.h"

namespace {

/// Nobody reads it but `orchestrator check`, in the file.
[[gnu::used]] constexpr const char* kMark = handover::kLogWriterMark.data();

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv, argv + argc);
  const auto parsed = rotatelogs::ParseCommandLine(arguments);
  if (const auto* refusal = std::get_if<rotatelogs::Refusal>(&parsed)) {
    std::fprintf(stderr, "%s\n", refusal->message.c_str());
    if (refusal->with_usage) {
      std::fputs(rotatelogs::UsageText(arguments.empty() ? "rotatelogs" : arguments[0]).c_str(), stderr);
    }
    return 1;
  }
  os::SystemClock clock;
  if (const auto* request = std::get_if<rotatelogs::StatusRequest>(&parsed)) {
    return rotatelogs::PrintStatus(*request, clock);
  }
  return rotatelogs::RunRotatelogs(std::get<rotatelogs::Settings>(parsed), clock);
}
