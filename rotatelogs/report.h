#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace rotatelogs {

/// Takes one line, without its newline.
using Say = std::function<void(std::string_view)>;

/// The last line of a text that has several.
std::string OneLine(std::string text);

/// Local time for people: "2026-11-21 13:45:57".
std::string When(int64_t unix_time);

}  // namespace rotatelogs
