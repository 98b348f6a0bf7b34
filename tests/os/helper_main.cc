#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/os/process_support.h"

extern char** environ;

namespace {

/// `--report FILE`: writes what this process was given, "name=value" a line, and leaves.
int Report(const char* path) {
  const auto descriptors = tests::OpenDescriptors();
  char cwd[4096] = "";
  if (!::getcwd(cwd, sizeof cwd)) return 3;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  std::ofstream out(path);
  for (const auto& [number, target] : descriptors) out << "fd " << number << "=" << target << "\n";
  for (char** entry = environ; *entry; ++entry) out << "env " << *entry << "\n";
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  out << "pid=" << ::getpid() << "\nsid=" << ::getsid(0) << "\ncwd=" << cwd << "\numask=" << mask
      << "\nnofile=" << limit.rlim_cur << "\nuid=" << ::getuid() << "\neuid=" << ::geteuid() << "\ngid=" << ::getgid()
      << "\n";
  gid_t groups[64];
  const int count = ::getgroups(64, groups);
  out << "groups=";
  for (int i = 0; i < count; ++i) out << groups[i] << ",";
  out << "\n";
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    for (const std::string name : {"SigBlk", "SigIgn"}) {
      if (line.starts_with(name + ":")) out << name << "=" << line.substr(name.size() + 2) << "\n";
    }
  }
  out.flush();
  return out ? 0 : 3;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "--report" && argc > 2) return Report(argv[2]);
  if (command == "--exit" && argc > 2) return std::atoi(argv[2]);
  if (command == "--wait") {  // until standard input ends
    char byte;
    while (::read(0, &byte, 1) > 0) {
    }
    return 0;
  }
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
