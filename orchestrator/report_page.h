#pragma once

#include <string>

#include "orchestrator/story.h"

namespace orchestrator {

/// The report as one HTML page: no script, nothing from elsewhere, well-formed XML; light or dark as the reader's
/// system is; bounded in size however long the upgrade took. Foreign text is escaped.
std::string ReportPage(const Story& story);

}  // namespace orchestrator
