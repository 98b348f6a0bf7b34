#include "rotatelogs/report.h"

#include <ctime>

namespace rotatelogs {

std::string OneLine(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  const size_t newline = text.rfind('\n');
  return newline == std::string::npos ? text : text.substr(newline + 1);
}

std::string When(int64_t unix_time) {
  const time_t at = unix_time;
  tm fields{};
  ::localtime_r(&at, &fields);
  char text[64];
  return std::string(text, ::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &fields));
}

}  // namespace rotatelogs
