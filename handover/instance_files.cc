#include "handover/instance_files.h"

#include <unistd.h>

#include <charconv>

namespace handover {

namespace {

constexpr std::string_view kPrefix = "httpd.";
constexpr std::string_view kControl = ".control";
constexpr std::string_view kPrivate = ".http";
constexpr std::string_view kLock = ".lock";
constexpr std::string_view kCut = ".cut";
constexpr std::string_view kConfig = ".conf";
constexpr std::string_view kNewConfig = ".conf.new";

std::string PathOf(const std::string& runtime_dir, pid_t pid, std::string_view suffix) {
  std::string path = runtime_dir + "/";
  path.append(kPrefix).append(std::to_string(pid)).append(suffix);
  return path;
}

pid_t PidIn(std::string_view name, std::string_view suffix) {
  if (!name.starts_with(kPrefix) || !name.ends_with(suffix) || name.size() <= kPrefix.size() + suffix.size()) return 0;
  const char* last = name.data() + name.size() - suffix.size();
  pid_t pid = 0;
  const auto parsed = std::from_chars(name.data() + kPrefix.size(), last, pid);
  return parsed.ec == std::errc() && parsed.ptr == last && pid > 0 ? pid : 0;
}

}  // namespace

std::string ControlPath(const std::string& runtime_dir, pid_t pid) {
  return PathOf(runtime_dir, pid, kControl);
}

std::string PrivatePath(const std::string& runtime_dir, pid_t pid) {
  return PathOf(runtime_dir, pid, kPrivate);
}

std::string LockPath(const std::string& runtime_dir, pid_t pid) {
  return PathOf(runtime_dir, pid, kLock);
}

std::string CutPath(const std::string& runtime_dir, pid_t pid) {
  return PathOf(runtime_dir, pid, kCut);
}

std::string ConfigPath(const std::string& runtime_dir, pid_t pid) {
  return PathOf(runtime_dir, pid, kConfig);
}

std::string NewConfigPath(const std::string& runtime_dir, pid_t pid) {
  return PathOf(runtime_dir, pid, kNewConfig);
}

pid_t PidOfControl(std::string_view name) {
  return PidIn(name, kControl);
}

pid_t PidOfLock(std::string_view name) {
  return PidIn(name, kLock);
}

pid_t PidOfCut(std::string_view name) {
  return PidIn(name, kCut);
}

void RemoveInstanceFiles(const std::string& runtime_dir, pid_t pid) {
  for (const std::string_view suffix : {kControl, kPrivate, kConfig, kNewConfig, kLock}) {
    ::unlink(PathOf(runtime_dir, pid, suffix).c_str());
  }
}

}  // namespace handover
