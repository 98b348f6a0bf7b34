#include "orchestrator/faults.h"

#ifdef BATON_FAULTS

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

namespace orchestrator {

void Fault(FaultPoint point) {
  const char* wanted = ::getenv("ORCHESTRATOR_FAULT");
  if (wanted && point.name == wanted) ::kill(::getpid(), SIGKILL);
}

}  // namespace orchestrator

#endif
