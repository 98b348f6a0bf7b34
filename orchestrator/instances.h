#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>

#include "orchestrator/drivers/httpd.h"
#include "orchestrator/report.h"
#include "os/clock.h"
#include "os/error.h"

/// Starting and ending instances, whoever asks for it.
namespace orchestrator {

/// Starts the server in the background (`-k start`) and waits until it serves.
/// @param config  its own, for PidFile and runtime directory
/// @return one sentence that says why it does not serve
os::Result<httpd::Instance> StartServer(const httpd::Program& program, const httpd::RunConfig& config,
                                        std::chrono::milliseconds limit, os::Clock& clock);

/// Waits for the end of an instance that was told to go; TERM after `term_after`, KILL 5 s later.
enum class Ending { kByItself, kAfterTerm, kKilled };
Ending AwaitEnd(const os::ProcessHandle& process, std::chrono::milliseconds term_after, Report& report);

/// Waits at most 5 s until no process of the group runs. @return false: one does
bool AwaitGroup(pid_t group, os::Clock& clock);

/// Ends what is left of the process group of an instance that has ended (children, log programs): they get 5 s to go by
/// themselves, then KILL. @return false: something of the group is still there
bool EndGroup(pid_t group, os::Clock& clock);

/// Removes the runtime files of an instance whose parent has ended. Children of one that was killed go within a second;
/// until then its lock is held, and this waits, at most 5 s. An instance that has that number by now keeps its files.
void RemoveFilesOfDead(const std::filesystem::path& runtime_dir, pid_t pid, os::Clock& clock);

/// The process group that was started with NOTIFY_SOCKET=`notify_path` and still has a process; 0: none.
pid_t FindLaunched(const std::filesystem::path& notify_path);

}  // namespace orchestrator
