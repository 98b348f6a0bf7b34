#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "os/clock.h"
#include "os/error.h"
#include "os/fd.h"
#include "os/socket.h"
#include "tests/support/histogram.h"

namespace support {

/// The six kinds of client, each as an ordinary person's browser or script would do it.
enum class ClientKind { kFresh, kBusy, kIdle, kDownload, kUpload, kPipeline };
inline constexpr size_t kClientKinds = 6;
inline constexpr std::array<std::string_view, kClientKinds> kClientKindNames = {"fresh",    "busy",   "idle",
                                                                                "download", "upload", "pipeline"};

/// What can go wrong, from the client's side. Each failed request counts under exactly one of these; kClosedIdle alone
/// is a connection without a request (nothing had been sent, but nothing had been announced either).
enum class FailureKind {
  kRefused,             ///< connect(2) failed
  kResetBefore,         ///< first request of a connection: closed or reset before the first byte of its response
  kCut,                 ///< closed or reset within a response
  kLate,                ///< no connection, answer or progress for `late`
  kWrongStatus,         ///< a whole response with another status than the one that is right
  kWrongBody,           ///< a whole response with another body than the reference
  kClosedIdle,          ///< keep-alive connection closed while idle, not announced, before its promised time was over
  kClosedUnderRequest,  ///< keep-alive connection closed, not announced, when a request had been sent on it
  kMalformed,           ///< not HTTP, or bytes that belong to no request
  kClient,              ///< the client's own machine was short of ports or descriptors: nothing is known of the server
};
inline constexpr size_t kFailureKinds = 10;
inline constexpr std::array<std::string_view, kFailureKinds> kFailureKindNames = {
    "refused",    "reset_before_response", "cut_response",         "late",      "wrong_status",
    "wrong_body", "closed_idle",           "closed_under_request", "malformed", "client_trouble"};

struct LoadOptions {
  os::SocketAddress server;
  std::string host = "localhost";  ///< Host header
  std::array<int, kClientKinds> connections{};
  std::chrono::milliseconds duration{0};  ///< 0: until Stop() or the stop file
  std::filesystem::path stop_file;        ///< ends the run when it appears; empty: none
  std::filesystem::path started_file;     ///< written once every connection has had a first answer; empty: none
  std::vector<std::string> small = {
      "/"};            ///< static files of at most some 100 KB; all kinds but download use them in turn
  std::string big;     ///< static file for download (needed when it has connections)
  std::string upload;  ///< where to POST; answers 200 with that file. Empty: the first small one
  double rate = 0;     ///< requests per second of all fresh and busy clients together; 0: no limit
  std::chrono::milliseconds late{10'000};
  std::chrono::milliseconds think_min{50}, think_max{900};
  std::chrono::milliseconds download_time{8'000};  ///< how long one download takes at least
  std::chrono::milliseconds upload_time{2'000};    ///< how long sending one body takes at least
  size_t upload_bytes = 300'000;
  bool ranges = true;  ///< some pipelined requests ask for a byte range: proves the order of the answers
  std::string run;     ///< first part of every rid; no spaces, no '&'
  uint64_t seed = 1;
  std::filesystem::path answered_file;  ///< every rid that was answered wholly and rightly, one a line; empty: none
  std::filesystem::path failed_file;    ///< "rid client failure" of every request that failed; empty: none
};

struct KindReport {
  uint64_t connections = 0;  ///< established
  uint64_t requests = 0;     ///< composed: answered + failed + abandoned
  uint64_t answered = 0;
  uint64_t retried = 0;    ///< sent again on a new connection because the server had announced the close; no failure
  uint64_t abandoned = 0;  ///< given up by us at the end of the run
  uint64_t announced_closes = 0;  ///< keep-alive connections that the server closed as it had said
  uint64_t bytes = 0;             ///< received
  std::array<uint64_t, kFailureKinds> failures{};
  Histogram connect;     ///< us from connect(2) to established
  Histogram first_byte;  ///< us from wanting to send (new connection: from connect(2); upload: from the last body byte)
                         ///< to the first byte of the answer
};

struct FailureNote {
  double at = 0;  ///< Unix time in seconds
  ClientKind client{};
  FailureKind failure{};
  std::string rid;  ///< empty for kClosedIdle
  std::string detail;
};

struct Report {
  double started = 0;  ///< Unix time in seconds
  double seconds = 0;
  std::array<KindReport, kClientKinds> kinds;
  std::vector<FailureNote> notes;  ///< the first kMaxNotes failures
  std::vector<uint32_t> worst_us;  ///< worst first_byte per kStep since `started`, at the request's start and end; a
                                   ///< failed request counts with the time it took to fail
  static constexpr std::chrono::milliseconds kStep{10};
  static constexpr size_t kMaxNotes = 1000;

  uint64_t Failures() const;
  uint64_t Count(FailureKind kind) const;
  uint64_t Answered() const;
  uint64_t Requests() const;
  /// Worst latency in microseconds of requests that began or ended in [from, to] (Unix seconds); 0: there was none.
  uint64_t WorstBetween(double from, double to) const;
};

/// A moment to look at: "<unix seconds, with fraction> label" a line of a marks file.
struct Mark {
  double at = 0;
  std::string label;
};
/// kInvalid: a line that is not one, with its number.
os::Result<std::vector<Mark>> ReadMarks(const std::filesystem::path& path);

/// For people: one table, the first failures, the longest latency within `window` seconds around every mark.
std::string ToText(const Report& report, const std::vector<Mark>& marks, double window);
/// For programs: one JSON object, keys as in the structs above; latencies in milliseconds.
std::string ToJson(const Report& report, const std::vector<Mark>& marks, double window);

/// The client that forgives nothing. All its connections live in the one thread that calls Run().
///
/// Every request carries `?rid=<run>-<n>`, so that an access log that holds %r can be joined with the rid files
/// exactly. An announced close is no failure: `Connection: close`, HTTP/1.0, or the end of the `Keep-Alive: timeout` on
/// an idle connection; pipelined requests behind an announced close are sent again, with the same rid, on the next
/// connection.
///
/// Errors  what the server does wrong is in the Report; an Error is only for what keeps the run from starting.
/// Source  RFC 9112 section 9 (connection management), RFC 9110 section 10.1.1 (Expect)
class LoadClient {
 public:
  /// Opens files, fetches every URL once as the reference (one connection each, 10 s at most).
  /// @return kInvalid: options that contradict each other, or a reference that is not a 200
  static os::Result<std::unique_ptr<LoadClient>> Create(LoadOptions options, os::Clock& clock);
  ~LoadClient();

  /// Runs to the end of `duration`, Stop() or the stop file; then lets requests in progress finish (each is bounded by
  /// `late` without progress). Call once.
  Report Run();

  /// Asks Run() to end. A second call gives up what is in progress. Safe from any thread and from a signal handler.
  void Stop();

 private:
  class Impl;
  explicit LoadClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace support
