#pragma once

#include <string_view>

namespace handover {

/// Stands in every program that may write one log beside copies of itself: its writers meet in a rendezvous beside the
/// log, so that rotation and lines of several of them do not collide. `orchestrator check` looks for these bytes in the
/// program's file, because a name says nothing (another rotatelogs has it too) and a stranger cannot be asked without
/// running it. The number is that of the rendezvous: writers with different ones do not meet.
inline constexpr std::string_view kLogWriterMark = "\nBaton log writer; rendezvous 1\n";

}  // namespace handover
