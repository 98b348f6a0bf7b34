#pragma once

#include <string>

#include "orchestrator/story.h"

namespace orchestrator {

/// What happened, in one sentence: versions, duration, moment of the switch, failures.
std::string Headline(const Story& story);

/// The report as JSON; orchestrator(8) "REPORT" is its schema. Text is valid UTF-8 without control characters.
std::string ReportJson(const Story& story);

}  // namespace orchestrator
