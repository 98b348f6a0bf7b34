#include "orchestrator/figures.h"

#include <cmath>
#include <cstdio>

namespace orchestrator {

namespace {

std::string Decimal(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

/// Three digits that mean something: 9.8, 12.5, 850.
std::string Short(double value) {
  if (value == 0) return "0";
  if (value < 0.095) return Decimal(value, 2);
  if (value < 99.95) return Decimal(value, value == std::floor(value) ? 0 : 1);
  return CountText(std::llround(value));
}

}  // namespace

std::string CountText(int64_t number) {
  std::string digits = std::to_string(number < 0 ? -number : number);
  for (size_t at = digits.size(); at > 3;) digits.insert(at -= 3, ",");
  return number < 0 ? "-" + digits : digits;
}

std::string RateText(double per_second) {
  return per_second < 0.05 ? "0" : Short(per_second);
}

std::string SpanText(int64_t milliseconds) {
  if (milliseconds < 1000) return std::to_string(milliseconds) + " ms";
  if (milliseconds < 60000) return Decimal(static_cast<double>(milliseconds / 100) / 10.0, 1) + " s";
  const int64_t seconds = milliseconds / 1000;
  char text[48];
  if (seconds < 3600) {
    std::snprintf(text, sizeof text, "%d m %02d s", static_cast<int>(seconds / 60), static_cast<int>(seconds % 60));
  } else {
    std::snprintf(text, sizeof text, "%lld h %02d m", static_cast<long long>(seconds / 3600),
                  static_cast<int>(seconds / 60 % 60));
  }
  return text;
}

std::string MillisText(double milliseconds) {
  if (milliseconds < 1000) return Short(milliseconds) + " ms";
  return SpanText(std::llround(milliseconds));
}

std::string BytesText(int64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return Short(value) + " " + kUnits[unit];
}

}  // namespace orchestrator
