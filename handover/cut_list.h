#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace handover {

/// A request that was still in progress when its instance had to be gone.
///
/// The children of an instance that was told `drain` with `CUT_LIST=1` append one line for each to the instance's cut
/// list (CutPath() in instance_files.h), one write(2) a line; the parent adds what the scoreboard knows of children
/// that it has to kill. Who asked for the list reads it when the instance has gone, and removes it.
struct CutRequest {
  enum class Phase {
    kReceiving,  ///< the request itself had not arrived completely
    kAnswering,  ///< the client had not got the whole answer
    kUnknown,    ///< told by the scoreboard, for a child that did not tell itself
  };
  std::string client;  ///< "127.0.0.1:4711"; without port when only the address is known
  Phase phase = Phase::kUnknown;
  std::optional<uint64_t> bytes_sent;  ///< of the answer, head included
  std::optional<uint64_t> bytes_left;  ///< of the answer, not yet taken by the kernel
  uint64_t age_ms = 0;                 ///< since the request was begun
  std::string request;                 ///< request line as far as it is known
  bool operator==(const CutRequest&) const = default;
};

/// "receiving", "answering", "unknown"
std::string_view PhaseName(CutRequest::Phase phase);

/// One line with its newline, at most 9,000 bytes: tab-separated, the request last. What is not printable ASCII in
/// client and request comes as \xNN, as in the error log.
std::string FormatCut(const CutRequest& request);

/// What FormatCut() wrote, newline left out; nullopt: it did not (a line that a crash broke off).
std::optional<CutRequest> ParseCut(std::string_view line);

/// For people: `"GET /x HTTP/1.1" from 127.0.0.1:4711, 4096 bytes sent, 100 left, 1.5 s old`
std::string CutText(const CutRequest& request);

}  // namespace handover
