#pragma once

#include <filesystem>
#include <string>

#include "orchestrator/story.h"
#include "os/error.h"

namespace orchestrator {

/// Where a report goes: a page for people and the same as JSON.
struct ReportPlace {
  std::filesystem::path html;
  std::filesystem::path json;
  bool keep_few = false;  ///< in our own directory: only the last 20 stay
};

/// <directory>/reports/<date>-<id>.html and .json; the date is local, as 20261121-104534.
ReportPlace PlaceReport(const std::filesystem::path& directory, const Story& story);

/// What --report says: FILE.html and FILE.json; an ending ".html" or ".json" of FILE is not doubled.
ReportPlace PlaceReportAt(const std::filesystem::path& file);

/// Writes both, mode 0600, each replaced as a whole. Makes the directory reports (0700), not any other.
/// @return kNotFound, kDenied, kIo: one of them is not there
os::Status WriteReport(const Story& story, const ReportPlace& place);

}  // namespace orchestrator
