#include "rotatelogs/processlogs_options.h"

#include <algorithm>
#include <charconv>
#include <cxxopts.hpp>
#include <optional>
#include <string_view>

namespace rotatelogs {

namespace {

constexpr const char* kSynopsis =
    "Usage: processlogs run --ledger FILE [--out DIR] [--jobs N] [--min-age S] [--attempts N] [--timeout S]\n"
    "                       [--compress zstd|gzip|none] [--keep-count N] [--keep-age DAYS] [--keep-bytes SIZE]\n"
    "                       [--dry-run] [--json] PATTERN... [-- COMMAND [ARG...]]\n"
    "       processlogs status --ledger FILE [--json]\n"
    "       processlogs why [--ledger FILE] SEGMENT\n"
    "       processlogs retry --ledger FILE SEGMENT...\n"
    "       processlogs verify --ledger FILE [--json]\n"
    "Runs COMMAND once for every finished log segment. See processlogs(8).\n";

/// "512", "10K", "3M", "2G", "1T": bytes, in powers of 1024; nullopt: something else, or 0.
std::optional<int64_t> ParseSize(const std::string& text) {
  int64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [at, failed] = std::from_chars(text.data(), end, number);
  if (failed != std::errc() || number < 1 || end - at > 1) return std::nullopt;
  static constexpr std::string_view kUnits = "KMGT";
  if (at == end) return number;
  const size_t unit = kUnits.find(*at);
  if (unit == std::string_view::npos || number > (INT64_MAX >> (10 * (unit + 1)))) return std::nullopt;
  return number << (10 * (unit + 1));
}

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
  out.jobs = given["jobs"].as<int64_t>();
  if (out.jobs < 1 || out.jobs > kMaxJobs) {
    return UsageError{"run: --jobs takes a number, 1 to " + std::to_string(kMaxJobs)};
  }
  if (given.count("keep-count")) {
    out.keep.count = given["keep-count"].as<int64_t>();
    if (out.keep.count < 1) return UsageError{"run: --keep-count takes a number of segments, 1 or more"};
  }
  if (given.count("keep-age")) {
    const int64_t days = given["keep-age"].as<int64_t>();
    if (days < 1 || days > kYears / 86400) return UsageError{"run: --keep-age takes days, 1 or more"};
    out.keep.seconds = days * 86400;
  }
  if (given.count("keep-bytes")) {
    const auto bytes = ParseSize(given["keep-bytes"].as<std::string>());
    if (!bytes) return UsageError{"run: --keep-bytes takes a size, 1 or more, as 500M (units K, M, G, T)"};
    out.keep.bytes = *bytes;
  }
  out.dry_run = given.count("dry-run") > 0;
  out.json = given.count("json") > 0;
  out.patterns = std::move(patterns);
  out.command = std::move(command);
  if (out.patterns.empty()) return UsageError{"run: no PATTERN is given"};
  if (separated && out.command.empty()) return UsageError{"run: no command follows --"};
  if (!separated && out.compress == Compression::kNone && !out.keep.Any()) {
    return UsageError{"run: -- and a command are missing (only --compress and --keep-... do without)"};
  }
  return out;
}

}  // namespace

Command ParseProcesslogs(const std::vector<std::string>& arguments) {
  if (arguments.size() < 2) return UsageError{"a verb is missing: run, status, why, retry or verify"};
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
    add("jobs", "", cxxopts::value<int64_t>()->default_value("1"));
    add("keep-count", "", cxxopts::value<int64_t>());
    add("keep-age", "", cxxopts::value<int64_t>());
    add("keep-bytes", "", cxxopts::value<std::string>());
    add("dry-run", "");
  } else if (verb != "status" && verb != "why" && verb != "retry" && verb != "verify") {
    return UsageError{"no such verb: " + verb + " (run, status, why, retry, verify)"};
  }
  if (verb == "run" || verb == "status" || verb == "verify") add("json", "");
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
    if (!operands.empty()) return UsageError{verb + ": takes no operand"};
    if (verb == "verify") return VerifyCommand{ledger, given.count("json") > 0};
    return StatusCommand{ledger, given.count("json") > 0};
  } catch (const cxxopts::exceptions::exception& failed) {
    return UsageError{verb + ": " + failed.what()};
  }
}

}  // namespace rotatelogs
