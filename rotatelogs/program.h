#pragma once

#include "os/clock.h"
#include "rotatelogs/policy.h"

namespace rotatelogs {

/// The whole program: reads descriptor 0 to its end. @return the exit status
int RunRotatelogs(const Settings& settings, os::Clock& clock);

}  // namespace rotatelogs
