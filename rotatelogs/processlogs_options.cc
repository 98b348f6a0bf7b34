#include "rotatelogs/processlogs_options.h"

#include <algorithm>
#include <cxxopts.hpp>

namespace rotatelogs {

namespace {

constexpr const char* kSynopsis =
    "Usage: processlogs run --ledger FILE [--out DIR] [--min-age S] [--attempts N] [--timeout S]\n"
    "                       [--compress zstd|gzip|none] [--dry-run] [--json] PATTERN... -- COMMAND [ARG...]\n"
    "       processlogs status --ledger FILE [--json]\n"
    "       processlogs why [--ledger FILE] SEGMENT\n"
    "       processlogs retry --ledger FILE SEGMENT...\n"
    "Runs COMMAND once for every finished log segment. See processlogs(8).\n";

Command ParseRun(const cxxopts::ParseResult& given, std::vector<std::string> patterns, std::vector<std::string> command,
                 bool separated) {
  RunOptions out;
  if (given.count("ledger") == 0) return UsageError{"run: --ledger is missing"};
  out.ledger = given["ledger"].as<std::string>();
  if (given.count("out")) out.out = given["out"].as<std::string>();
  const int64_t min_age = given["min-age"].as<int64_t>();
  const int64_t timeout = given["timeout"].as<int64_t>();
  constexpr int64_t kYears = int64_t{100} * 366 * 86400;
  if (min_age < 0 || min_age > kYears) return UsageError{"run: --min-age takes seconds, 0 or more"};
  if (timeout < 0 || timeout > kYears) return UsageError{"run: --timeout takes seconds, 0 (none) or more"};
  out.min_age = std::chrono::seconds(min_age);
  out.timeout = std::chrono::seconds(timeout);
  out.attempts = given["attempts"].as<int64_t>();
  if (out.attempts < 1) return UsageError{"run: --attempts takes a number, 1 or more"};
  const std::string compress = given["compress"].as<std::string>();
  if (compress == "zstd") {
    out.compress = Compression::kZstd;
  } else if (compress == "gzip") {
    out.compress = Compression::kGzip;
  } else if (compress != "none") {
    return UsageError{"run: --compress takes zstd, gzip or none"};
  }
  out.dry_run = given.count("dry-run") > 0;
  out.json = given.count("json") > 0;
  out.patterns = std::move(patterns);
  out.command = std::move(command);
  if (out.patterns.empty()) return UsageError{"run: no PATTERN is given"};
  if (!separated || out.command.empty())
    return UsageError{"run: -- and a command are missing (`-- true` to do nothing)"};
  return out;
}

}  // namespace

Command ParseProcesslogs(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) return UsageError{"a verb is missing: run, status, why or retry"};
  const std::string& verb = arguments[1];
  if (verb == "--help" || verb == "-h") return HelpCommand{kSynopsis};
  const auto separator = std::find(arguments.begin(), arguments.end(), "--");
  const std::vector<std::string> before(arguments.begin() + 1, separator);
  const bool separated = separator != arguments.end();
  const std::vector<std::string> command(separated ? separator + 1 : separator, arguments.end());

  cxxopts::Options options("processlogs");
  auto add = options.add_options();
  add("operands", "", cxxopts::value<std::vector<std::string>>());
  add("ledger", "", cxxopts::value<std::string>());
  if (verb == "run") {
    add("out", "", cxxopts::value<std::string>());
    add("min-age", "", cxxopts::value<int64_t>()->default_value("0"));
    add("attempts", "", cxxopts::value<int64_t>()->default_value("5"));
    add("timeout", "", cxxopts::value<int64_t>()->default_value("0"));
    add("compress", "", cxxopts::value<std::string>()->default_value("none"));
    add("dry-run", "");
  } else if (verb != "status" && verb != "why" && verb != "retry") {
    return UsageError{"no such verb: " + verb + " (run, status, why, retry)"};
  }
  if (verb == "run" || verb == "status") add("json", "");
  options.parse_positional({"operands"});
  std::vector<const char*> words;
  for (const std::string& word : before) words.push_back(word.c_str());
  try {
    const auto given = options.parse(static_cast<int>(words.size()), words.data());
    std::vector<std::string> operands;
    if (given.count("operands")) operands = given["operands"].as<std::vector<std::string>>();
    const std::string ledger = given.count("ledger") ? given["ledger"].as<std::string>() : "";
    if (verb == "run") return ParseRun(given, operands, command, separated);
    if (separated) return UsageError{verb + ": takes no command"};
    if (verb == "why") {
      if (operands.size() != 1) return UsageError{"why: takes one SEGMENT"};
      return WhyCommand{ledger, operands[0]};
    }
    if (ledger.empty()) return UsageError{verb + ": --ledger is missing"};
    if (verb == "retry") {
      if (operands.empty()) return UsageError{"retry: no SEGMENT is given"};
      return RetryCommand{ledger, operands};
    }
    if (!operands.empty()) return UsageError{"status: takes no operand"};
    return StatusCommand{ledger, given.count("json") > 0};
  } catch (const cxxopts::exceptions::exception& failed) {
    return UsageError{verb + ": " + failed.what()};
  }
}

}  // namespace rotatelogs
