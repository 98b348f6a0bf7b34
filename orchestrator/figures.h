#pragma once

#include <cstdint>
#include <string>

/// Numbers as people read them; the same in the live view and in the report.
namespace orchestrator {

std::string CountText(int64_t number);        ///< "12,345"
std::string RateText(double per_second);      ///< "0", "0.4", "12.5", "1,204"
std::string SpanText(int64_t milliseconds);   ///< "12 ms", "4.2 s", "1 m 05 s", "1 h 02 m"
std::string MillisText(double milliseconds);  ///< "0.04 ms", "1.2 ms", "850 ms", "1.2 s"
std::string BytesText(int64_t bytes);         ///< "800 B", "12.5 KiB", "41 MiB", "1.5 GiB"

}  // namespace orchestrator
