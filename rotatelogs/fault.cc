#include "rotatelogs/fault.h"

#include <signal.h>

#include <cstdlib>
#include <sstream>
#include <string>

namespace rotatelogs {

#ifdef BATON_FAULTS
namespace {

struct Wanted {
  std::string step;
  int left = 1;
  std::string whom = "run";
};

Wanted FromEnvironment() {
  Wanted out;
  const char* text = ::getenv("PROCESSLOGS_FAULT");
  std::istringstream in(text ? text : "");
  std::string word;
  std::getline(in, out.step, ':');
  while (std::getline(in, word, ':')) {
    if (word.find_first_not_of("0123456789") == std::string::npos) {
      out.left = std::atoi(word.c_str());
    } else {
      out.whom = word;
    }
  }
  return out;
}

}  // namespace

void FaultPoint(Step step, const std::set<pid_t>& groups) {
  static Wanted wanted = FromEnvironment();
  if (wanted.step != kStepNames[static_cast<size_t>(step)] || --wanted.left != 0) return;
  if (wanted.whom == "both") {
    for (const pid_t group : groups) ::kill(-group, SIGKILL);
  }
  ::raise(SIGKILL);
}
#else
void FaultPoint(Step, const std::set<pid_t>&) {}
#endif

}  // namespace rotatelogs
