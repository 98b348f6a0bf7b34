#include "rotatelogs/inspect_ledger.h"

#include <Poco/JSON/Object.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <tuple>

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
  auto all = ledger.value()->All();
  if (!all) return LedgerError(all.error(), complain);
  std::map<std::string, int64_t> counts;
  std::vector<const Record*> rows;
  for (const auto& [id, record] : all.value()) {
    ++counts[record.state];
    rows.push_back(&record);
  }
  std::sort(rows.begin(), rows.end(), [](const Record* a, const Record* b) {
    return std::tie(a->updated, a->path) < std::tie(b->updated, b->path);
  });
  for (const Record* row : rows) {
    if (json) {
      Poco::JSON::Object::Ptr object = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
      object->set("segment", row->path);
      object->set("id", row->id);
      object->set("state", row->state);
      object->set("attempts", row->attempts);
      object->set("next_at", row->next_at);
      object->set("updated", row->updated);
      object->set("bytes", row->bytes);
      object->set("lines", row->lines);
      object->set("sha256", row->sha256);
      object->set("output", row->output);
      object->set("words", row->words);
      std::ostringstream text;
      object->stringify(text);
      say(text.str());
    } else if (row->state != "done" && row->state != "compressed") {
      say(row->state + " " + row->path + ": attempt " + std::to_string(row->attempts) + " at " + When(row->updated) +
          (row->state == "retry" ? ", next at " + When(row->next_at) : "") +
          (row->words.empty() ? "" : ": " + OneLine(row->words)));
    }
  }
  if (!json) {
    std::string line;
    for (const auto& [state, count] : counts) line += (line.empty() ? "" : ", ") + std::to_string(count) + " " + state;
    say(line.empty() ? "no segments yet" : line);
  }
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
    say(std::string(holder.writes ? "writes: "
                    : holder.maps ? "maps: "
                                  : "reads: ") +
        "process " + std::to_string(holder.pid) + " (" + holder.program + "), running since " + When(holder.since));
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
  say("ledger: " + row.state + ", attempt " + std::to_string(row.attempts) + " at " + When(row.updated) +
      (row.state == "retry" ? ", next at " + When(row.next_at) : ""));
  if (!row.words.empty()) say("last words: " + row.words);
  return 0;
}

int Retry(const fs::path& path, const std::vector<std::string>& segments, const Say& say, const Say& complain) {
  auto ledger = Ledger::Open(path, Ledger::Mode::kReadOnly);
  if (ledger) ledger = Ledger::Open(path, Ledger::Mode::kCreate);
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
    if (!record || (record.value().state != "quarantined" && record.value().state != "retry")) {
      complain("processlogs: " + segment + ": neither quarantined nor waiting for a retry");
      out = 1;
      continue;
    }
    Record row = std::move(record).value();
    row.state = "retry";
    row.attempts = 0;
    row.next_at = 0;
    if (auto saved = ledger.value()->Put(row); !saved) return LedgerError(saved.error(), complain);
    say("will be tried again: " + segment);
  }
  return out;
}

}  // namespace rotatelogs
