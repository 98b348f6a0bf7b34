#include "os/clock.h"

#include <thread>

namespace os {

void SystemClock::Sleep(std::chrono::nanoseconds span) {
  std::this_thread::sleep_for(span);
}

}  // namespace os
