#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "httpd/modules/request_state.h"
#include "httpd/net/exchange.h"

namespace httpd::modules {

/// A path that was looked at, and what was there.
struct SeenFile {
  std::string path;
  struct stat info {};  ///< st_mode == 0: nothing
};

/// What an answer that is being made depends on besides its target, host and method. Modules add to it
/// (Module::repeats).
class Dependencies {
 public:
  /// The first value of a request field, or that there is none; a field that was sent twice is another request.
  void OnField(std::string_view name);
  void OnClientAddress() { on_address_ = true; }
  /// The answer is right for this second only.
  void OnTime() { on_time_ = true; }
  /// @param info  what was there; null: nothing
  void OnFile(std::string_view path, const struct stat* info);
  /// Something that nobody can name: the answer will not be given again, and nothing more is noted.
  void OnMore() { on_more_ = true; }

 private:
  friend class AnswerCache;
  void Clear();
  bool on_more_ = false;
  bool on_address_ = false;
  bool on_time_ = false;
  std::vector<std::string> fields_;
  std::vector<SeenFile> files_;
};

/// Answers from files, kept to be given again without asking the modules: the fields as they made them, small bodies in
/// memory, large files open. One per loop.
///
/// Kept    what the core has answered a GET or HEAD with from a regular file (200, 304), compressed by a filter or not,
///         if every module that had a part in it says what its part depended on.
/// Given   to a request with the same scheme, host, authority, method and target and the same values of every field
/// that
///         counted. In the second in which it was made or checked at once; later when every file that was looked at,
///         .htaccess files and those that were not there among them, is as it was then: so whatever changes is seen
///         within a second. A file that was changed less than two seconds before the answer was made is asked for
///         again, since its time could not tell one change from the next; a large one is looked at each time.
/// Limits  OpenFileCache answers, 16 MiB of bodies, and 256 open files or a 32nd of RLIMIT_NOFILE; the longest unused
///         go first; unused for 10 s goes.
class AnswerCache {
 public:
  /// @param most  answers; 0 = keep none
  explicit AnswerCache(size_t most);
  ~AnswerCache();
  AnswerCache(const AnswerCache&) = delete;
  AnswerCache& operator=(const AnswerCache&) = delete;

  /// Answers `state`, which was begun with its request. false: it has to be answered in full.
  bool Give(RequestState& state);

  /// Where the look-ups of the request are to be noted; null: its answer will not be kept.
  Dependencies* Watch(const RequestState& state);

  /// The answer to the request that was watched last stands: keeps it if it can be given again.
  void Keep(RequestState& state);

  /// Forgets what nobody wants any more. Cheap; every turn.
  void EndTurn();

  size_t size() const { return answers_.size(); }
  uint64_t given() const { return given_; }  ///< answers so far that came from here

 private:
  struct Answer;
  using List = std::list<Answer>;

  void MakeKey(const RequestState& state);
  bool IsCurrent(Answer& answer, int64_t second);
  static bool Fits(const Answer& answer, const RequestState& state);
  void Drop(List::iterator answer);

  const size_t most_;
  const size_t most_files_;
  List answers_;  ///< last used first
  std::unordered_multimap<std::string_view, List::iterator> by_key_;
  std::string key_;  ///< of the request that is being answered
  Dependencies on_;
  size_t body_bytes_ = 0;
  size_t files_ = 0;
  int64_t second_ = 0;  ///< of the monotonic clock
  uint64_t given_ = 0;
};

}  // namespace httpd::modules
