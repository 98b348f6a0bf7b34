#pragma once

#include <gtest/gtest.h>

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "os/file.h"
#include "rotatelogs/identity.h"
#include "rotatelogs/ledger.h"
#include "tests/rotatelogs/harness.h"

namespace harness {

/// A directory with segments, an output directory and a ledger.
class Processlogs : public ::testing::Test {
 protected:
  explicit Processlogs(const std::filesystem::path& parent = std::filesystem::temp_directory_path()) : dir_(parent) {}

  void Segment(const std::string& name, const std::string& content) {
    std::filesystem::create_directories(dir_.path() / "logs");
    std::ofstream(dir_.path() / "logs" / name) << content;
  }

  /// One that was changed so many seconds ago.
  void Segment(const std::string& name, const std::string& content, int age) {
    Segment(name, content);
    std::filesystem::last_write_time(dir_.path() / "logs" / name,
                                     std::filesystem::file_time_type::clock::now() - std::chrono::seconds(age));
  }

  /// `processlogs VERB --ledger ledger ...`
  Outcome Ask(const std::string& verb, const std::vector<std::string>& rest = {}) {
    std::vector<std::string> argv = {PROCESSLOGS, verb, "--ledger", "ledger"};
    argv.insert(argv.end(), rest.begin(), rest.end());
    return Execute({argv, dir_.path(), {}, {}});
  }

  /// What the ledger knows about a file; id is empty when that is nothing.
  rotatelogs::Record RecordOf(const std::string& id) {
    auto ledger = rotatelogs::Ledger::Open(dir_.path() / "ledger", rotatelogs::Ledger::Mode::kReadOnly);
    auto record = ledger ? ledger.value()->Find(id) : ledger.error();
    return record ? record.value() : rotatelogs::Record{};
  }
  std::string IdOf(const std::string& name) { return rotatelogs::IdentityAt((dir_.path() / "logs" / name).string()); }

  /// Names in logs/, hidden ones too.
  std::set<std::string> Names(const std::string& directory = "logs") {
    std::set<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path() / directory)) {
      out.insert(entry.path().filename().string());
    }
    return out;
  }

  /// True when `condition` has become true within `seconds`.
  template <class F>
  static bool Eventually(F condition, int seconds = 20) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      ::usleep(2000);
    }
    return true;
  }

  harness::StartOptions Command(std::vector<std::string> options, std::vector<std::string> command,
                                std::vector<std::string> environment = {}) {
    std::vector<std::string> argv = {PROCESSLOGS, "run", "--ledger", "ledger"};
    if (with_out_) argv.insert(argv.end(), {"--out", "out"});
    argv.insert(argv.end(), options.begin(), options.end());
    argv.push_back("logs/*");
    if (!command.empty()) argv.push_back("--");
    argv.insert(argv.end(), command.begin(), command.end());
    return {argv, dir_.path(), std::move(environment), {}};
  }

  Outcome Process(std::vector<std::string> options, std::vector<std::string> command,
                  std::vector<std::string> environment = {}) {
    return Execute(Command(std::move(options), std::move(command), std::move(environment)));
  }

  std::map<std::string, std::string> Output() {
    std::map<std::string, std::string> out;
    if (!std::filesystem::exists(dir_.path() / "out")) return out;
    for (const auto& [name, content] : Files(dir_.path() / "out")) {
      if (name[0] != '.') out[name] = content;
    }
    return out;
  }

  /// Lines that the command left of its runs: one per run and segment.
  std::multiset<std::string> Runs() {
    auto text = os::ReadFile(dir_.path() / "runs");
    const auto lines = Lines(text ? text.value() : "");
    return {lines.begin(), lines.end()};
  }

  const std::vector<std::string> kCount = {"sh", "-c", "echo $(basename $SEGMENT) >> runs; wc -l"};
  bool with_out_ = true;
  TempDir dir_;
};

}  // namespace harness
