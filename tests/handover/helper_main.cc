#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "handover/listen_fds.h"
#include "handover/passing.h"
#include "handover/readiness.h"
#include "tests/os/process_support.h"

namespace {

/// `--listeners FILE`: takes the inherited listeners and writes what they are, one a line.
int Listeners(const char* path) {
  auto taken = handover::TakeListenFds();  // before anything else gets a number from 3 on
  std::ofstream out(path);
  if (!taken) {
    out << "error " << taken.error().Text() << "\n";
    return 0;
  }
  for (const auto& listener : taken.value()) {
    out << listener.fd.get() << " " << listener.name << " " << listener.address.Text() << "\n";
  }
  out << "left " << (std::getenv("LISTEN_FDS") || std::getenv("LISTEN_PID") || std::getenv("LISTEN_FDNAMES")) << "\n";
  return 0;
}

/// `--adopt`: receives connections on descriptor 3, answers every one "<requests>:<unread><what comes>" up to its
/// newline.
int Adopt() {
  const os::Fd control(3);
  auto message = handover::Receive(control);
  if (!message) return 2;
  auto connections = handover::UnpackConnections(std::move(message).value());
  if (!connections) return 3;
  for (auto& connection : connections.value()) {
    std::string line = connection.unread;
    while (line.find('\n') == std::string::npos) {
      char chunk[256];
      const ssize_t n = ::read(connection.fd.get(), chunk, sizeof chunk);
      if (n <= 0) return 4;
      line.append(chunk, static_cast<size_t>(n));
    }
    const std::string answer = std::to_string(connection.requests) + ":" + line;
    if (::write(connection.fd.get(), answer.data(), answer.size()) != static_cast<ssize_t>(answer.size())) return 5;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "--listeners" && argc > 2) return Listeners(argv[2]);
  if (command == "--adopt") return Adopt();
  if (command == "--notify" && argc > 2) return handover::Notify(argv[2]) ? 0 : 1;
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
