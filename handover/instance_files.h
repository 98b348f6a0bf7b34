#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>

namespace handover {

/// Names of what one instance keeps in its runtime directory (DefaultRuntimeDir): how instances and the orchestrator
/// find each other. Formatter and parser side by side.
std::string ControlPath(const std::string& runtime_dir, pid_t pid);  ///< httpd.<pid>.control
std::string PrivatePath(const std::string& runtime_dir, pid_t pid);  ///< httpd.<pid>.http
std::string LockPath(const std::string& runtime_dir, pid_t pid);     ///< httpd.<pid>.lock
std::string CutPath(const std::string& runtime_dir, pid_t pid);      ///< httpd.<pid>.cut: see cut_list.h
/// httpd.<pid>.conf: the configuration that the instance runs with, as one file.
std::string ConfigPath(const std::string& runtime_dir, pid_t pid);
std::string NewConfigPath(const std::string& runtime_dir, pid_t pid);  ///< the same while it is written
/// Pid in the name of a control socket, of a lock file, of a cut list; 0 when it is another name.
pid_t PidOfControl(std::string_view name);
pid_t PidOfLock(std::string_view name);
pid_t PidOfCut(std::string_view name);

/// Removes the files of one instance; those that are not there are no error. Only for the instance itself, and for who
/// knows that all its processes are dead. Nothing else is touched: the directory may be one of logs, where a name that
/// ends in a number is somebody's rotated log. The cut list is not among them: it outlives its instance, for who asked.
void RemoveInstanceFiles(const std::string& runtime_dir, pid_t pid);

}  // namespace handover
