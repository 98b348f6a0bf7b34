#pragma once

#include <filesystem>
#include <string>
#include <variant>
#include <vector>

#include "rotatelogs/processor.h"

namespace rotatelogs {

struct StatusCommand {
  std::filesystem::path ledger;
  bool json = false;
};
struct WhyCommand {
  std::filesystem::path ledger;  ///< may be empty: only who holds the file
  std::filesystem::path segment;
};
struct RetryCommand {
  std::filesystem::path ledger;
  std::vector<std::string> segments;
};
struct VerifyCommand {
  std::filesystem::path ledger;
  bool json = false;
};
struct HelpCommand {
  std::string text;
};
struct UsageError {
  std::string message;  ///< one line
};
using Command =
    std::variant<RunOptions, StatusCommand, WhyCommand, RetryCommand, VerifyCommand, HelpCommand, UsageError>;

/// Reads the command line of processlogs. What follows the first "--" is the command of `run`, untouched.
Command ParseProcesslogs(const std::vector<std::string>& arguments);

}  // namespace rotatelogs
