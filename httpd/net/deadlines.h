#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace httpd::net {

/// What has a time to be looked at again derives from this. Leaves the wheel when it is destroyed.
struct Deadline {
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  ~Deadline() { Unfile(); }

  bool is_filed() const { return after != nullptr; }
  void Unfile() {
    look_ms = UINT64_MAX;
    if (!is_filed()) return;
    before->after = after;
    after->before = before;
    before = after = nullptr;
  }

  Deadline* before = nullptr;  ///< the wheel's own, as what follows
  Deadline* after = nullptr;
  uint64_t look_ms = UINT64_MAX;  ///< when it is looked at; read by anybody
};

/// Who has to be looked at when. A place costs the same whether there are ten or ten thousand others: a ring of lists,
/// one for every tick; what is further away than the ring is long stands in the last list and is to be filed again.
///
/// Meant to be used lazily: a deadline that moves away need not be filed anew, only one that comes closer. Whoever is
/// found before its time was up is filed again then.
///
/// Time     milliseconds of any steady clock, given by the caller, never running back
/// Threads  one owner; no locking
class DeadlineWheel {
 public:
  static constexpr uint64_t kTickMs = 100;
  static constexpr uint64_t kTicks = 512;

  DeadlineWheel() {
    for (Deadline& head : lists_) Empty(head);
    Empty(due_);
  }

  /// (Re)files `entry`: TakeDue() gives it in the tick of `at_ms` or after it, whatever is past already the next time.
  void File(Deadline& entry, uint64_t at_ms) {
    entry.Unfile();
    entry.look_ms = at_ms;
    Append(ListOf(std::clamp(at_ms / kTickMs, tick_, tick_ + kTicks - 1)), entry);
  }

  /// Everything that is filed up to the tick of `now_ms` becomes due: also what is due a little later in that tick.
  void PassTo(uint64_t now_ms) {
    const uint64_t now = std::max(now_ms / kTickMs, tick_);
    if (now - tick_ >= kTicks) tick_ = now - kTicks + 1;
    for (;; ++tick_) {
      Deadline& list = ListOf(tick_);
      while (list.after != &list) Move(*list.after, due_);
      if (tick_ == now) return;
    }
  }

  /// One that is due, the earliest tick first, no longer filed; null: there is none.
  Deadline* TakeDue() {
    Deadline* entry = due_.after;
    if (entry == &due_) return nullptr;
    entry->Unfile();
    return entry;
  }

  /// Calls `visit(entry)` for what is filed, the earliest tick first, until it returns false. `visit` may file the
  /// entry anew, not others; filed for later, it is visited again there.
  template <class Visit>
  void VisitInOrder(Visit visit) {
    for (uint64_t tick = tick_; tick < tick_ + kTicks; ++tick) {
      Deadline& list = ListOf(tick);
      const Deadline* last = list.before;
      for (Deadline* entry = list.after; entry != &list;) {
        Deadline* next = entry->after;
        const bool was_last = entry == last;
        if (!visit(*entry)) return;
        if (was_last) break;
        entry = next;
      }
    }
  }

 private:
  static void Empty(Deadline& head) { head.before = head.after = &head; }
  static void Append(Deadline& head, Deadline& entry) {
    entry.before = head.before;
    entry.after = &head;
    head.before->after = &entry;
    head.before = &entry;
  }
  static void Move(Deadline& entry, Deadline& to) {
    entry.before->after = entry.after;
    entry.after->before = entry.before;
    Append(to, entry);
  }
  Deadline& ListOf(uint64_t tick) { return lists_[tick % kTicks]; }

  uint64_t tick_ = 0;  // the first whose entries may still come
  std::array<Deadline, kTicks> lists_;
  Deadline due_;
};

}  // namespace httpd::net
