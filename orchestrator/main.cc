#include <signal.h>

#include <cstdio>

#include "orchestrator/check.h"
#include "orchestrator/commands.h"
#include "orchestrator/history.h"
#include "orchestrator/options.h"
#include "orchestrator/report.h"
#include "orchestrator/resume.h"
#include "orchestrator/upgrade.h"
#include "os/clock.h"
#include "os/signals.h"

int main(int argc, char** argv) {
  os::IgnoreSignal(SIGPIPE);
  auto parsed = orchestrator::ParseOptions({argv, argv + argc});
  if (!parsed) {
    std::fprintf(stderr, "orchestrator: %s\n", parsed.error().Text().c_str());
    return orchestrator::kExitUsage;
  }
  const orchestrator::Options& options = parsed.value();
  os::SystemClock clock;
  using Form = orchestrator::Report::Form;
  orchestrator::Report report(options.json ? Form::kJson : Form::kPlain, clock);
  switch (options.command) {
    case orchestrator::Command::kStart:
      return orchestrator::RunStart(options, report, clock);
    case orchestrator::Command::kStop:
      return orchestrator::RunStop(options, report, clock);
    case orchestrator::Command::kUpgrade:
    case orchestrator::Command::kRollback:
      return orchestrator::RunUpgrade(options, report, clock);
    case orchestrator::Command::kResume:
      return orchestrator::RunResume(options, report, clock);
    case orchestrator::Command::kHistory:
      return orchestrator::RunHistory(options, report, clock);
    case orchestrator::Command::kStatus:
      return orchestrator::RunStatus(options, report, clock);
    case orchestrator::Command::kCheck:
      return orchestrator::RunCheck(options, report, clock);
    case orchestrator::Command::kVersion:
      std::puts("orchestrator " BATON_VERSION);
      return orchestrator::kExitDone;
    case orchestrator::Command::kHelp:
      break;
  }
  std::fputs(orchestrator::HelpText().c_str(), stdout);
  return orchestrator::kExitDone;
}
