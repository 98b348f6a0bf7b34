#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "orchestrator/plan.h"
#include "orchestrator/timeline.h"

namespace orchestrator {

/// One step as it went. Times are milliseconds since the upgrade began.
struct StepStory {
  Step step = Step::kPlanned;
  int64_t began_ms = 0;
  std::optional<int64_t> ended_ms;  ///< nothing: it is not done, or it failed
  std::string detail;
};

struct NoteStory {
  int64_t at_ms = 0;
  std::string text;
};

/// Who the two instances are. Versions and paths are foreign text: whoever shows them escapes them.
struct PartyStory {
  long pid = 0;       ///< 0: not there yet
  bool gone = false;  ///< it has ended
  std::string version;
  std::string binary;
};

/// Something that has an end: the bake time, the drain.
struct Countdown {
  std::string what;                 ///< "bake", "deadline"
  std::optional<int64_t> until_ms;  ///< nothing: no limit
};

/// Everything that the live view and the report tell about one upgrade; values only.
struct Story {
  std::string id;  ///< the journal's name of this run
  int64_t began_unix_ms = 0;
  std::string server_root;
  std::string config_file;
  std::string user;                 ///< who typed the command
  std::array<PartyStory, 2> party;  ///< by Side
  std::vector<StepStory> steps;
  std::vector<NoteStory> notes;
  std::vector<std::string> cut;   ///< requests that were cut, a line each
  std::vector<std::string> keep;  ///< listeners by address
  std::vector<std::string> add;
  std::vector<std::string> remove;
  std::optional<int64_t> switched_ms;   ///< the new instance accepts
  std::optional<int64_t> committed_ms;  ///< the old one was told to leave
  std::optional<Countdown> countdown;
  Timeline timeline;
  // at the end
  std::optional<int64_t> ended_ms;
  std::string status;  ///< "done", "rolled back", "failed"
  int exit_status = 0;
  bool detached = false;  ///< ended while the old instance still drained
  std::string reason;     ///< one sentence
};

}  // namespace orchestrator
