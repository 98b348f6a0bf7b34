#include "rotatelogs/inspect_ledger.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include "os/file.h"
#include "rotatelogs/identity.h"
#include "rotatelogs/ledger.h"
#include "rotatelogs/rendezvous.h"
#include "rotatelogs/report.h"
#include "rotatelogs/seal.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::Error;
using os::ErrorKind;
namespace fs = std::filesystem;

namespace {

int LedgerError(const Error& error, const Say& complain) {
  complain("processlogs: " + error.Text());
  return 3;
}

}  // namespace

int ShowStatus(const fs::path& path, bool json, const Say& say, const Say& complain) {
  auto ledger = Ledger::Open(path, Ledger::Mode::kReadOnly);
  if (!ledger) return LedgerError(ledger.error(), complain);
  auto rows = ledger.value()->All();
  if (!rows) return LedgerError(rows.error(), complain);
  for (const Record& row : rows.value()) {
    if (json) {
      say(RecordJson(row));
      continue;
    }
    if (IsSettled(row.state) && row.state != State::kQuarantined) continue;
    std::string line = std::string(StateName(row.state)) + " " + row.path;
    if (row.state == State::kOpen || row.state == State::kSealed) {
      line += ": seen at " + When(row.updated);
    } else {
      line += ": attempt " + std::to_string(row.attempts) + " at " + When(row.updated);
    }
    if (row.state == State::kRetry) line += ", next at " + When(row.next_at);
    say(line + (row.words.empty() ? "" : ": " + OneLine(row.words)));
  }
  if (json) return 0;
  auto counts = ledger.value()->Counts();
  if (!counts) return LedgerError(counts.error(), complain);
  std::string line;
  for (const auto& [state, count] : counts.value()) {
    line += (line.empty() ? "" : ", ") + std::to_string(count) + " " + state;
  }
  say(line.empty() ? "no segments yet" : line);
  return 0;
}

int ShowWhy(const fs::path& path, const fs::path& segment, os::Clock& clock, const Say& say, const Say& complain) {
  auto fd = os::Open(segment, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!fd) {
    complain("processlogs: " + fd.error().Text());
    return 1;
  }
  struct stat status {};
  if (::fstat(fd.value().get(), &status) != 0) return 1;
  for (const fs::path& place : MeetingPlacesNear(segment)) {
    auto view = Look(place, 2s);
    if (!view) {
      if (view.error().kind != ErrorKind::kNotFound) say(view.error().Text());
      continue;
    }
    for (const LeaseView& lease : view.value().writers) {
      if (lease.inode != status.st_ino || lease.device != status.st_dev) continue;
      say("lease: " + Describe(lease.writer) + ", started by process " + std::to_string(lease.parent) + ", since " +
          When(lease.since) + (lease.draining ? ", drains the rest of its input" : ""));
    }
  }
  for (const Holder& holder : HoldersOf(status.st_dev, status.st_ino)) {
    say(std::string(holder.writes ? "writes: " : "reads: ") + "process " + std::to_string(holder.pid) + " (" +
        holder.program + "), running since " + When(holder.since));
  }
  ::signal(SIGIO, SIG_IGN);
  const Seal seal = TrySeal(segment, fd.value(), 0s, clock, false);
  if (!seal.sealed) {
    say("not sealed: " + seal.reason);
  } else {
    say(seal.certain ? "sealed: no process can write to it" : "no writer was observed; that is not certain here");
  }
  if (path.empty()) return 0;
  auto ledger = Ledger::Open(path, Ledger::Mode::kReadOnly);
  if (!ledger && ledger.error().kind == ErrorKind::kNotFound) {
    say("never processed: there is no ledger yet");
    return 0;
  }
  if (!ledger) return LedgerError(ledger.error(), complain);
  auto record = ledger.value()->Find(IdentityOf(fd.value().get()));
  if (!record && record.error().kind != ErrorKind::kNotFound) return LedgerError(record.error(), complain);
  if (!record) {
    say("never processed");
    return 0;
  }
  const Record& row = record.value();
  say("ledger: " + std::string(StateName(row.state)) + ", attempt " + std::to_string(row.attempts) + " at " +
      When(row.updated) + (row.state == State::kRetry ? ", next at " + When(row.next_at) : ""));
  if (!row.words.empty()) say("last words: " + row.words);
  return 0;
}

int Retry(const fs::path& path, const std::vector<std::string>& segments, const Say& say, const Say& complain) {
  auto ledger = Ledger::Open(path, Ledger::Mode::kWrite);
  if (!ledger) return LedgerError(ledger.error(), complain);
  int out = 0;
  for (const std::string& segment : segments) {
    auto fd = os::Open(segment, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!fd) {
      complain("processlogs: " + fd.error().Text());
      out = 1;
      continue;
    }
    auto record = ledger.value()->Find(IdentityOf(fd.value().get()));
    if (!record && record.error().kind != ErrorKind::kNotFound) return LedgerError(record.error(), complain);
    if (!record || (record.value().state != State::kQuarantined && record.value().state != State::kRetry)) {
      complain("processlogs: " + segment + ": neither quarantined nor waiting for a retry");
      out = 1;
      continue;
    }
    Record row = std::move(record).value();
    row.state = State::kRetry;
    row.attempts = 0;
    row.next_at = 0;
    if (auto saved = ledger.value()->Put({&row}); !saved) return LedgerError(saved.error(), complain);
    say("will be tried again: " + segment);
  }
  return out;
}

}  // namespace rotatelogs
