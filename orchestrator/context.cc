#include "orchestrator/context.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <charconv>
#include <cstdlib>

#include "orchestrator/plan.h"
#include "os/file.h"

namespace orchestrator {

namespace {

namespace fs = std::filesystem;

std::string Proc(pid_t pid, std::string_view name) {
  return "/proc/" + std::to_string(pid) + "/" + std::string(name);
}

/// Rest of the line that starts with `key`, blanks in front left out.
std::string Field(const std::string& text, std::string_view key) {
  size_t at = 0;
  while (at < text.size()) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    const std::string_view line = std::string_view(text).substr(at, end - at);
    if (line.starts_with(key)) {
      const size_t start = line.find_first_not_of(" \t", key.size());
      return start == std::string_view::npos ? "" : std::string(line.substr(start));
    }
    at = end + 1;
  }
  return "";
}

/// First number of a kB line of smaps_rollup or status, in bytes.
int64_t Kilobytes(const std::string& value) {
  return std::strtoll(value.c_str(), nullptr, 10) * 1024;
}

std::string CgroupOf(pid_t pid) {
  auto text = os::ReadFile(Proc(pid, "cgroup"));
  return text ? Field(text.value(), "0::") : "";
}

int64_t CountDescriptors(pid_t pid) {
  auto names = os::ListDirectory(Proc(pid, "fd"));
  return names ? static_cast<int64_t>(names.value().size()) : 0;
}

int64_t MemoryOf(pid_t pid) {
  if (auto text = os::ReadFile(Proc(pid, "smaps_rollup")); text) return Kilobytes(Field(text.value(), "Pss:"));
  auto text = os::ReadFile(Proc(pid, "status"));
  return text ? Kilobytes(Field(text.value(), "RssAnon:")) : 0;
}

}  // namespace

os::Result<Context> ReadContext(pid_t pid) {
  Context context;
  auto command_line = os::ReadFile(Proc(pid, "cmdline"));
  if (!command_line) return command_line.error();
  context.arguments = SplitNul(command_line.value());

  std::error_code failed;
  std::string binary = fs::read_symlink(Proc(pid, "exe"), failed).string();
  constexpr std::string_view kDeleted = " (deleted)";  // replaced by a package upgrade: the path is what counts
  if (binary.ends_with(kDeleted)) binary.resize(binary.size() - kDeleted.size());
  context.binary = binary;

  if (auto text = os::ReadFile(Proc(pid, "environ")); text) {
    context.environment = CleanEnvironment(SplitNul(text.value()));
  } else {
    context.environment = CleanEnvironment(os::Environment());
    context.notes.push_back("the old instance's environment cannot be read (" + text.error().Text() +
                            "): the new one gets this command's");
  }

  const fs::path directory = fs::read_symlink(Proc(pid, "cwd"), failed);
  context.directory = !failed && fs::is_directory(directory, failed) ? directory : fs::path("/");

  if (auto text = os::ReadFile(Proc(pid, "status")); text) {
    if (const std::string mask = Field(text.value(), "Umask:"); !mask.empty()) {
      context.umask = static_cast<mode_t>(std::strtoul(mask.c_str(), nullptr, 8));
    }
    if (const std::string uid = Field(text.value(), "Uid:"); !uid.empty()) {
      context.uid = static_cast<uid_t>(std::strtoul(uid.c_str(), nullptr, 10));
    }
    if (const std::string gid = Field(text.value(), "Gid:"); !gid.empty()) {
      context.gid = static_cast<gid_t>(std::strtoul(gid.c_str(), nullptr, 10));
    }
    const std::string groups = Field(text.value(), "Groups:");
    for (const char* at = groups.c_str(); *at;) {
      char* end = nullptr;
      const unsigned long group = std::strtoul(at, &end, 10);
      if (end == at) break;
      context.groups.push_back(static_cast<gid_t>(group));
      at = end;
    }
  }

  for (int which = 0; which < RLIM_NLIMITS; ++which) {
    rlimit limit{};
    if (::prlimit(pid, static_cast<__rlimit_resource>(which), nullptr, &limit) != 0) {
      context.notes.push_back("the old instance's limits cannot be read: the new one gets this command's");
      break;
    }
    context.limits.emplace_back(which, limit);
  }

  const std::string cgroup = CgroupOf(pid);
  if (!cgroup.empty() && cgroup != CgroupOf(::getpid())) {
    const fs::path path = fs::path("/sys/fs/cgroup") / fs::path(cgroup).relative_path();
    if (::access((path / "cgroup.procs").c_str(), W_OK) == 0) {
      context.cgroup = path;
    } else {
      context.notes.push_back("the old instance's cgroup " + cgroup +
                              " cannot be written: the new one stays in this command's");
    }
  }
  return context;
}

namespace {

/// `parent` and its children.
std::vector<pid_t> Family(pid_t parent) {
  std::vector<pid_t> out = {parent};
  auto children = os::ReadFile(Proc(parent, "task/" + std::to_string(parent) + "/children"));
  if (!children) return out;
  for (const char* at = children.value().c_str(); *at;) {
    char* end = nullptr;
    const long child = std::strtol(at, &end, 10);
    if (end == at) break;
    out.push_back(static_cast<pid_t>(child));
    at = *end == ' ' ? end + 1 : end;
  }
  return out;
}

}  // namespace

Footprint Measure(pid_t parent) {
  Footprint out;
  out.memory = MeasureMemory(parent);
  out.parent_descriptors = CountDescriptors(parent);
  for (const pid_t pid : Family(parent)) out.all_descriptors += CountDescriptors(pid);
  return out;
}

int64_t MeasureMemory(pid_t parent) {
  int64_t bytes = 0;
  for (const pid_t pid : Family(parent)) bytes += MemoryOf(pid);
  return bytes;
}

}  // namespace orchestrator
