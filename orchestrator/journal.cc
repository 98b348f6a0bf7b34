#include "orchestrator/journal.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "orchestrator/report.h"
#include "os/file.h"

namespace orchestrator {

os::Result<Journal> Journal::Open(const std::filesystem::path& directory, std::string id, const os::Clock& clock) {
  const auto path = directory / "journal";
  auto fd = os::Open(path, O_RDWR | O_APPEND | O_CREAT, 0600);
  if (!fd) return fd.error();
  const off_t size = ::lseek(fd.value().get(), 0, SEEK_END);
  char last = '\n';
  if (size > 0 && ::pread(fd.value().get(), &last, 1, size - 1) == 1 && last != '\n') {
    if (auto ended = os::WriteAll(fd.value(), "\n"); !ended) return ended.error();
  }
  if (auto synced = os::SyncDirectory(directory); !synced) return synced.error();
  return Journal(std::move(fd).value(), std::move(id), clock);
}

os::Status Journal::Write(const Poco::JSON::Object& line) {
  if (auto written = os::WriteAll(fd_, OneLine(line) + "\n"); !written) return written;
  if (::fdatasync(fd_.get()) != 0) {
    const int sys = errno;
    return os::SysError(sys, "sync the journal");
  }
  return os::kDone;
}

os::Status Journal::Begin(Step step, const Poco::JSON::Object& facts) {
  auto line = Ordered();
  line.set("upgrade", id_);
  line.set("phase", "begin");
  line.set("step", std::string(StepName(step)));
  line.set("at", UnixSeconds(*clock_));
  for (const std::string& name : facts.getNames()) line.set(name, facts.get(name));
  return Write(line);
}

os::Status Journal::End(int exit_status, const std::string& reason) {
  auto line = Ordered();
  line.set("upgrade", id_);
  line.set("phase", "end");
  line.set("at", UnixSeconds(*clock_));
  line.set("exit", exit_status);
  line.set("reason", reason);
  return Write(line);
}

}  // namespace orchestrator
