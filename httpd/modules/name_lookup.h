#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "os/fd.h"

namespace httpd::modules {

/// What a name server, or /etc/hosts, is asked.
struct NameQuestion {
  enum class Kind {
    kNameOf,      ///< of a numeric address: its name in lower case, if that name leads back to the address
    kAddressesOf  ///< of a name: its addresses, numeric
  };
  Kind kind = Kind::kNameOf;
  std::string text;
};

/// Asks for names on a thread of its own, because that may take many seconds, and remembers for a minute what it was
/// told, failures too. Equal questions that are asked meanwhile share one lookup.
///
/// Limits   1024 questions and as many who wait for them; 4096 answers, the oldest go first
/// Threads  any; no call blocks but Resolve()
/// Life     the thread is started by the first question and never ends: an instance must not be destroyed
class NameLookup {
 public:
  /// Empty: there is none, or it could not be found out.
  using Answer = std::vector<std::string>;
  using Clock = std::chrono::steady_clock;
  enum class Age { kFresh, kAny };

  static constexpr size_t kMostWaiting = 1024;
  static constexpr size_t kMostAnswers = 4096;
  static constexpr std::chrono::seconds kLife{60};

  /// The one of this process.
  static NameLookup& Shared();

  /// @param resolve  called on the thread
  explicit NameLookup(std::function<Answer(const NameQuestion&)> resolve,
                      std::function<Clock::time_point()> now = Clock::now)
      : resolve_(std::move(resolve)), now_(std::move(now)) {}
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  /// What is known. kAny: also when it is older than a minute.
  std::optional<Answer> Find(const NameQuestion& question, Age age = Age::kFresh);

  /// Sees to it that it becomes known.
  /// @param event  an eventfd(2), written to when it is; a copy is kept until then. Negative: nobody waits
  /// @return false: too many wait already, or there is no descriptor or thread left
  bool Ask(const NameQuestion& question, int event);

  /// Nobody waits any longer for it: it counts as not found, until the thread knows better.
  void GiveUp(const NameQuestion& question);

  /// Asks and blocks.
  static Answer Resolve(const NameQuestion& question);

 private:
  struct Known {
    std::string key;
    Answer answer;
    Clock::time_point since;
  };
  const Known* FindKnown(const std::string& key, Age age) const;
  void Remember(const std::string& key, Answer answer);
  bool StartThread();
  [[noreturn]] void Work();

  const std::function<Answer(const NameQuestion&)> resolve_;
  const std::function<Clock::time_point()> now_;
  std::mutex mutex_;  // guards everything below
  std::condition_variable has_work_;
  bool is_started_ = false;
  std::deque<NameQuestion> queue_;
  std::unordered_map<std::string, std::vector<os::Fd>> waiting_;  ///< by key; in the queue or being looked up
  size_t waiters_ = 0;
  std::list<Known> answers_;  ///< oldest first
  std::unordered_map<std::string, std::list<Known>::iterator> by_key_;
};

}  // namespace httpd::modules
