#pragma once

#include <chrono>
#include <string>

#include "os/error.h"
#include "os/process.h"

namespace orchestrator {

/// What a short-lived program said and how it ended.
struct Output {
  os::ExitStatus exit;
  std::string out;  ///< stdout, at most 16 MiB
  std::string err;  ///< stderr, at most 64 KiB
};

/// Runs a program to its end. It gets pipes as stdout and stderr; a daemon that it leaves behind may keep them, what
/// counts is the end of the program itself.
/// @return kTimeout: it was killed after `limit`; otherwise Spawn()'s errors
os::Result<Output> RunProgram(os::SpawnOptions options, std::chrono::milliseconds limit);

/// The line of a program's stderr that says what is wrong: the first one that is not empty, joined with a second one
/// when the first ends in ':' (Apache's "Syntax error on line N of FILE:").
std::string FirstSentence(const std::string& text);

/// What is left in a pipe, without waiting.
void DrainPipe(const os::Fd& pipe, std::string& into, size_t max_bytes);

}  // namespace orchestrator
