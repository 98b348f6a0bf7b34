#pragma once

#include <filesystem>

#include "rotatelogs/report.h"

namespace rotatelogs {

/// `verify`: compares every record with the disk. A done segment, or its compressed copy, must exist (a renamed one is
/// looked for by identity in the directory that the ledger knows) and hold the recorded bytes, also when it is
/// expanded; the output must exist, be the recorded file and hold the recorded bytes; what is expired must be gone;
/// what is not done must exist. Nothing is changed. Reads every file that is left.
/// @return exit status: 0 all is as recorded, 1 there are differences, 3 the ledger cannot be used
int Verify(const std::filesystem::path& ledger, bool json, const Say& say, const Say& complain);

}  // namespace rotatelogs
