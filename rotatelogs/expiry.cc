#include "rotatelogs/expiry.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <chrono>
#include <utility>

#include "os/file.h"
#include "rotatelogs/fault.h"
#include "rotatelogs/identity.h"
#include "rotatelogs/seal.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::kDone;
using os::Status;
namespace fs = std::filesystem;

namespace {
constexpr size_t kBatch = 64;  // in one transaction, each with a descriptor for its lock
}  // namespace

void Expiry::Add(std::string path, std::string identity, std::string segment, State state, Role role, int64_t changed,
                 int64_t bytes) {
  if (state == State::kExpired) {
    expired_.push_back({std::move(path), std::move(identity), std::move(segment), role});
    return;
  }
  const auto [at, first] = by_segment_.emplace(segment, kept_.size());
  if (!first) {  // a copy is being made: two files, one segment, and neither may go
    kept_[at->second].bytes += bytes;
    kept_[at->second].removable = false;
    return;
  }
  const bool done = state == State::kDone || state == State::kCompressed;
  kept_.push_back({changed, bytes, done});
  files_.push_back({std::move(path), std::move(identity), std::move(segment), role});
}

Status Expiry::Apply() {
  for (const File& file : expired_) Unlink(file, nullptr);
  if (!limits_.Any()) return kDone;
  std::vector<Doomed> doomed;
  for (const size_t index : ChooseExpired(kept_, limits_, UnixNow(run_.clock))) {
    const File& file = files_[index];
    if (run_.options.dry_run) {
      run_.report.Event("would-expire", file.path, file.segment, std::to_string(kept_[index].bytes) + " bytes");
      continue;
    }
    auto claim = os::LockFile::Acquire(run_.claims / file.segment, 0ms, run_.clock);
    if (!claim) continue;  // another run works on it
    auto record = run_.ledger->Find(file.segment);
    if (!record) return record.error();
    if (!MayGo(file, record.value())) {
      (void)os::RemoveFile(run_.claims / file.segment).has_value();
      continue;
    }
    doomed.push_back({&file, std::move(claim).value(), std::move(record).value()});
    if (doomed.size() < kBatch) continue;
    if (auto removed = Remove(doomed); !removed) return removed;
  }
  return Remove(doomed);
}

/// The ledger and the disk as they are now, with the claim's lock held.
bool Expiry::MayGo(const File& file, const Record& record) {
  if (record.state != State::kDone && record.state != State::kCompressed) return false;
  auto fd = os::Open(file.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
  if (!fd) return false;
  if (file.role == Role::kArchive) return IdentityOf(fd.value().get()) == record.archive_id;
  struct stat status {};
  if (IdentityOf(fd.value().get()) != record.id || ::fstat(fd.value().get(), &status) != 0) return false;
  if (status.st_size != record.bytes) {
    run_.report.Complain(file.path + ": it has changed since it was processed: not expired");
    return false;
  }
  if (const Seal seal = TrySeal(run_.places.Near(file.path), fd.value(), run_.options.min_age, run_.clock, false);
      !seal.sealed) {
    run_.report.Event("open", file.path, file.segment, seal.reason + ": not expired");
    return false;
  }
  return true;
}

Status Expiry::Remove(std::vector<Doomed>& doomed) {
  std::vector<const Record*> records;
  for (Doomed& one : doomed) {
    one.record.state = State::kExpired;
    one.record.updated = UnixNow(run_.clock);
    records.push_back(&one.record);
  }
  if (!records.empty()) FaultPoint(Step::kSaving, run_.groups);
  if (auto saved = run_.ledger->Put(records); !saved) return saved;
  if (!records.empty()) FaultPoint(Step::kExpiring, run_.groups);
  for (Doomed& one : doomed) {
    Unlink(*one.file, &one.record);
    FaultPoint(Step::kExpired, run_.groups);
    (void)os::RemoveFile(run_.claims / one.record.id).has_value();
  }
  doomed.clear();
  return kDone;
}

void Expiry::Unlink(const File& file, const Record* record) {
  if (run_.options.dry_run) {
    run_.report.Event("would-expire", file.path, file.segment, "a run that died had begun to");
    return;
  }
  if (IdentityAt(file.path) != file.identity) return;  // a rotation gave the name to another file
  if (auto removed = os::RemoveFile(file.path); !removed) {
    run_.report.Complain(removed.error().Text());
    ++run_.counters.failed;
    return;
  }
  ++run_.counters.expired;
  run_.report.Event("expired", file.path, file.segment, "", record);
}

}  // namespace rotatelogs
