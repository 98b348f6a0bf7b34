#include "orchestrator/report_file.h"

#include <algorithm>
#include <ctime>
#include <set>

#include "orchestrator/report_data.h"
#include "orchestrator/report_page.h"
#include "os/file.h"

namespace orchestrator {

namespace {

namespace fs = std::filesystem;

constexpr size_t kKept = 20;

/// "20261121-104534-1234.html" -> "20261121-104534-1234"; "" for what we did not write.
std::string StemOf(const std::string& name) {
  const fs::path path = name;
  const std::string stem = path.stem();
  const bool ours = (path.extension() == ".html" || path.extension() == ".json") && stem.size() > 16 &&
                    stem[8] == '-' && stem[15] == '-' && stem.find_first_not_of("0123456789-.") == std::string::npos;
  return ours ? stem : "";
}

os::Status RemoveOld(const fs::path& directory) {
  auto names = os::ListDirectory(directory);
  if (!names) return names.error();
  std::set<std::string> stems;
  for (const std::string& name : names.value()) {
    if (std::string stem = StemOf(name); !stem.empty()) stems.insert(std::move(stem));
  }
  while (stems.size() > kKept) {
    for (const char* ending : {".html", ".json"}) {
      if (auto removed = os::RemoveFile(directory / (*stems.begin() + ending)); !removed) return removed;
    }
    stems.erase(stems.begin());
  }
  return os::kDone;
}

}  // namespace

ReportPlace PlaceReport(const fs::path& directory, const Story& story) {
  const std::time_t seconds = story.began_unix_ms / 1000;
  std::tm parts{};
  ::localtime_r(&seconds, &parts);
  char date[32];
  std::strftime(date, sizeof date, "%Y%m%d-%H%M%S", &parts);
  const std::string stem = std::string(date) + "-" + story.id;
  return {directory / "reports" / (stem + ".html"), directory / "reports" / (stem + ".json"), true};
}

ReportPlace PlaceReportAt(const fs::path& file) {
  fs::path stem = file;
  if (file.extension() == ".html" || file.extension() == ".json") stem.replace_extension();
  return {stem.string() + ".html", stem.string() + ".json", false};
}

os::Status WriteReport(const Story& story, const ReportPlace& place) {
  if (place.keep_few) {
    if (auto made = os::MakeDirectories(place.html.parent_path(), 0700); !made) return made;
  }
  if (auto written = os::ReplaceFile(place.json, ReportJson(story), 0600); !written) return written;
  if (auto written = os::ReplaceFile(place.html, ReportPage(story), 0600); !written) return written;
  return place.keep_few ? RemoveOld(place.html.parent_path()) : os::Status(os::kDone);
}

}  // namespace orchestrator
