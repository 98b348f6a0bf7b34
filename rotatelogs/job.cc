#include "rotatelogs/job.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "os/file.h"
#include "rotatelogs/compress.h"
#include "rotatelogs/fault.h"
#include "rotatelogs/identity.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::ErrorKind;
using os::Result;
namespace fs = std::filesystem;

namespace {

constexpr size_t kWords = 2048;  // of stderr that are kept
constexpr int kBadData = 65;     // EX_DATAERR of sysexits.h: trying again cannot help
constexpr auto kFreshSeal = 1s;  // an older one is asked for again before the command starts
constexpr auto kPatience = 5s;   // between SIGTERM and SIGKILL

std::string WithPath(std::string argument, const std::string& path) {
  for (size_t at = 0; (at = argument.find("{}", at)) != std::string::npos; at += path.size())
    argument.replace(at, 2, path);
  return argument;
}

/// 60 s doubled with each attempt, 6 h at most, and up to a tenth more.
int64_t BackOff(const Record& record) {
  const int64_t base = std::min<int64_t>(int64_t{60} << std::min<int64_t>(record.attempts - 1, 10), 6 * 3600);
  // Jitter from identity and attempt: segments that failed together do not come back together.
  const auto id = FileId::Parse(record.id);
  return base + static_cast<int64_t>((id ? id->low : 0) * static_cast<uint64_t>(record.attempts) %
                                     static_cast<uint64_t>(base / 10 + 1));
}

bool SameContent(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec;
}

}  // namespace

Job::Job(RunContext& run, std::string path, std::string id, State known)
    : run_(run), path_(std::move(path)), id_(std::move(id)), known_(known) {}

Job::~Job() {
  if (child_.valid()) run_.loop.Unwatch(child_.fd());
  if (words_.valid()) run_.loop.Unwatch(words_);
  run_.loop.Cancel(timer_);
}

bool Job::busy() const {
  switch (stage_) {
    case Stage::kNew:
    case Stage::kDigesting:
    case Stage::kReady:
    case Stage::kClosing:
    case Stage::kFinished:
      return false;
    case Stage::kNoting:
      return copying_;
    default:
      return true;
  }
}

void Job::Prepare() {
  const bool recovers = known_ == State::kCommitting || known_ == State::kArchiving;
  if (auto fd = os::Open(path_, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)) {
    if (IdentityOf(fd.value().get()) == id_) segment_ = std::move(fd).value();
  } else if (fd.error().kind != ErrorKind::kNotFound) {
    run_.report.Complain(fd.error().Text());
    ++run_.counters.failed;
    return Finish();
  }
  if (segment_.valid() && !recovers && !SealIt()) return Finish();
  if (run_.options.dry_run) {
    const bool copy = IsSettled(known_);
    run_.report.Event(copy ? "would-compress" : "would-process", path_, id_,
                      record_.certain ? "sealed" : "observed, not certain");
    return Finish();
  }
  auto claim = os::LockFile::Acquire(run_.claims / id_, 0ms, run_.clock);
  if (!claim) {
    if (claim.error().kind == ErrorKind::kBusy) {
      ++run_.counters.waiting;
      run_.report.Event("busy", path_, id_, "another processlogs works on it, or a command that it left behind");
    } else {
      run_.fatal = claim.error();
    }
    return Finish();
  }
  claim_ = std::move(claim).value();
  FaultPoint(Step::kLocked, run_.groups);
  Decide();
}

/// False: not sealed; the ledger is told why.
bool Job::SealIt() {
  const Seal seal = TrySeal(run_.places.Near(path_), segment_, run_.options.min_age, run_.clock, !run_.options.dry_run);
  record_.certain = seal.certain;
  sealed_at_ = run_.clock.SteadyNow();
  if (seal.sealed && ::fstat(segment_.get(), &status_) == 0) return true;
  ++run_.counters.open;
  run_.report.Event("open", path_, id_, seal.reason);
  if (run_.options.dry_run) return false;
  Record row;
  if (auto known = run_.ledger->Find(id_)) {
    row = std::move(known).value();
    if (row.state == State::kOpen && row.words == seal.reason && row.path == path_) return false;
    // What was tried before keeps its attempts and its date; only a segment that never began is called open.
    if (row.state != State::kOpen && row.state != State::kSealed) return false;
  }
  row.id = id_;
  row.path = path_;
  row.state = State::kOpen;
  row.words = seal.reason;
  row.certain = seal.certain;
  row.updated = UnixNow(run_.clock);
  run_.notes.push_back(std::move(row));
  return false;
}

/// What is to be done, from what the ledger says now that the claim is ours.
void Job::Decide() {
  const bool certain = record_.certain;
  if (auto known = run_.ledger->Find(id_)) {
    record_ = std::move(known).value();
  } else if (known.error().kind == ErrorKind::kNotFound) {
    record_.id = id_;
  } else {
    run_.fatal = known.error();
    return Finish();
  }
  if (record_.state == State::kCommitting) return RenameOutput();
  if (record_.state == State::kArchiving) return RenameArchive();
  const bool leftover = !record_.temporary.empty();
  DropTemporary();
  if (IsSettled(record_.state)) {  // perhaps by another run since we read the ledger
    if (record_.state == State::kDone && segment_.valid() && run_.options.compress != Compression::kNone) {
      record_.path = path_;
      return PlanCopy();
    }
    return leftover ? Save(Stage::kNoting) : Finish();
  }
  if (!segment_.valid()) {
    if (record_.state != State::kClaimed) return leftover ? Save(Stage::kNoting) : Finish();
    record_.state = State::kRetry;
    record_.next_at = 0;
    record_.words = "the segment went away while it was processed";
    return Save(Stage::kNoting);
  }
  record_.path = path_;
  record_.certain = certain;
  if (record_.state == State::kRetry && record_.next_at > UnixNow(run_.clock)) return Finish();
  if (record_.state == State::kClaimed && record_.attempts >= run_.options.attempts) {
    return Fail("the run ended in its last attempt", false);
  }
  Digest();
}

void Job::Digest() {
  stage_ = Stage::kDigesting;
  auto content = std::make_shared<std::optional<Result<Content>>>();
  run_.workers.Post([this, content](const std::stop_token& stop) { *content = ReadContent(segment_, stop); },
                    [this, content] {
                      const Result<Content>& read = **content;
                      if (interrupted_) return Finish();
                      if (!read) {
                        ++record_.attempts;
                        return Fail(read.error().Text(), false);
                      }
                      record_.sha256 = read.value().sha256;
                      record_.bytes = read.value().bytes;
                      record_.lines = read.value().lines;
                      stage_ = Stage::kReady;
                    });
}

void Job::NoteSealed() {
  if (noted_sealed_ || record_.state == State::kRetry || record_.state == State::kClaimed) return;
  noted_sealed_ = true;
  record_.state = State::kSealed;
  record_.words.clear();
  record_.updated = UnixNow(run_.clock);
  run_.notes.push_back(record_);
}

void Job::Start() {
  // It may have waited long for a command before it.
  if (run_.clock.SteadyNow() - sealed_at_ > kFreshSeal) {
    const struct stat before = status_;
    if (!SealIt()) return Finish();
    if (!SameContent(before, status_)) return Digest();
  }
  record_.state = State::kClaimed;
  ++record_.attempts;
  record_.next_at = 0;
  record_.words.clear();
  if (!run_.out.empty()) {
    record_.temporary = (run_.out / ("." + fs::path(path_).filename().string() + "." + id_.substr(0, 8) + "." +
                                     std::to_string(record_.attempts) + ".tmp"))
                            .string();
  }
  Save(Stage::kClaiming);
}

void Job::Saved() {
  switch (stage_) {
    case Stage::kClaiming:
      FaultPoint(Step::kClaimed, run_.groups);
      return StartCommand();
    case Stage::kCommitting:
      FaultPoint(Step::kCommitting, run_.groups);
      return RenameOutput();
    case Stage::kPlanning:
      return StartCopy();
    case Stage::kArchiving:
      FaultPoint(Step::kArchiving, run_.groups);
      return RenameArchive();
    case Stage::kNoting:
      if (record_.state == State::kDone) FaultPoint(Step::kDone, run_.groups);
      break;
    case Stage::kClosing:
      FaultPoint(Step::kCompressed, run_.groups);
      break;
    default:
      break;
  }
  if (!event_.empty()) run_.report.Event(event_, path_, id_, detail_, &record_);
  event_.clear();
  if (stage_ == Stage::kNoting && copying_) return StartCopy();
  Finish();
}

void Job::StartCommand() {
  if (interrupted_) return Release();
  if (!record_.temporary.empty()) {
    // Never an existing one: a process of an attempt that died may still write to it.
    (void)os::RemoveFile(record_.temporary).has_value();
    auto made = os::Open(record_.temporary, O_RDWR | O_CREAT | O_EXCL, 0644);
    if (!made) return Fail(made.error().Text(), false);
    output_ = std::move(made).value();
  }
  FaultPoint(Step::kOutputMade, run_.groups);
  auto input = os::Open(path_, O_RDONLY | O_NOFOLLOW | O_NOCTTY);
  if (!input) return Fail(input.error().Text(), false);
  if (IdentityOf(input.value().get()) != id_) return Fail("the segment was renamed", false);
  const std::string failure = Spawn(input.value());
  if (!failure.empty()) return Fail(failure, false);
  stage_ = Stage::kRunning;
  FaultPoint(Step::kRunning, run_.groups);
}

/// @return why not; empty: it runs
std::string Job::Spawn(const os::Fd& input) {
  os::SpawnOptions spawn;
  spawn.program = run_.program;
  for (const std::string& argument : run_.options.command) spawn.arguments.push_back(WithPath(argument, path_));
  spawn.environment = run_.environment;
  for (std::string entry : {"SEGMENT=" + path_, "SEGMENT_ID=" + id_, "ATTEMPT=" + std::to_string(record_.attempts),
                            "SHA256=" + record_.sha256, "BYTES=" + std::to_string(record_.bytes),
                            "LINES=" + std::to_string(record_.lines)}) {
    spawn.environment.push_back(std::move(entry));
  }
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return os::SysError(errno, "make a pipe").Text();
  words_ = os::Fd(ends[0]);
  os::Fd theirs(ends[1]);
  ::fcntl(words_.get(), F_SETFL, O_NONBLOCK);
  spawn.descriptors = {{input.get(), 0},
                       {output_.valid() ? output_.get() : 1, 1},
                       {theirs.get(), 2},
                       {claim_.fd().get(), 3}};  // the claim is held as long as anything of the command lives
  spawn.new_session = true;                      // a group of its own, which a timeout ends as a whole
  spawn.parent_death_signal = SIGKILL;
  auto started = os::Spawn(spawn);
  if (!started) return started.error().Text();
  child_ = std::move(started).value();
  run_.groups.insert(child_.pid());
  if (auto watched = run_.loop.Watch(child_.fd(), EPOLLIN, [this](uint32_t) { OnEnded(); }); !watched) {
    KillCommand();
    child_.WaitForEnd(-1);
    child_.TryReap();
    run_.groups.erase(child_.pid());
    return watched.error().Text();
  }
  if (auto watched = run_.loop.Watch(words_, EPOLLIN, [this](uint32_t) { OnWords(); }); !watched) {
    run_.report.Complain(watched.error().Text());
  }
  if (run_.options.timeout > 0s) {
    timer_ = run_.loop.At(run_.clock.SteadyNow() + run_.options.timeout, [this] {
      timed_out_ = true;
      OnDeadline();
    });
  }
  return "";
}

void Job::OnWords() {
  for (;;) {
    char buffer[4096];
    const ssize_t n = ::read(words_.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) run_.loop.Unwatch(words_);
    if (n <= 0) return;
    record_.words.append(buffer, static_cast<size_t>(n));
    if (record_.words.size() > kWords) record_.words.erase(0, record_.words.size() - kWords);
  }
}

void Job::OnDeadline() {
  ::kill(-child_.pid(), SIGTERM);
  run_.loop.Cancel(timer_);
  timer_ = run_.loop.At(run_.clock.SteadyNow() + kPatience, [this] { KillCommand(); });
}

void Job::KillCommand() {
  if (child_.valid()) ::kill(-child_.pid(), SIGKILL);
}

void Job::Interrupt() {
  if (interrupted_) return;
  interrupted_ = true;
  if (stage_ == Stage::kReady) return Finish();
  if (stage_ == Stage::kRunning) OnDeadline();
}

void Job::OnEnded() {
  OnWords();  // its last ones
  // What it left behind in its group could write on into an output that is complete now. Before it is reaped: the
  // number of the group cannot be another's yet.
  KillCommand();
  const auto status = child_.TryReap();
  run_.loop.Unwatch(child_.fd());
  run_.loop.Unwatch(words_);
  run_.loop.Cancel(timer_);
  run_.groups.erase(child_.pid());
  child_ = os::ProcessHandle();
  words_.Reset();
  if (interrupted_) return Release();
  std::string failure;
  if (timed_out_) {
    failure = "the command ran longer than " + std::to_string(run_.options.timeout.count()) + " s";
  } else if (!status) {
    failure = "the command's status was lost";
  } else if (status->signaled || status->code != 0) {
    failure = "the command " + status->Text();
  }
  if (!failure.empty()) {
    const bool bad_data = !timed_out_ && status && !status->signaled && status->code == kBadData;
    return Fail(failure + (record_.words.empty() ? "" : ": " + record_.words), bad_data);
  }
  FaultPoint(Step::kRan, run_.groups);
  struct stat after {};
  if (::fstat(segment_.get(), &after) != 0 || !SameContent(after, status_)) {
    return Fail("the segment changed while it was processed", false);
  }
  if (output_.valid()) return SyncOutput();
  NoteDone();
}

void Job::SyncOutput() {
  stage_ = Stage::kSyncing;
  auto content = std::make_shared<std::optional<Result<Content>>>();
  run_.workers.Post(
      [this, content](const std::stop_token&) {
        if (::fsync(output_.get()) != 0) {
          const int sys = errno;
          *content = Result<Content>(os::SysError(sys, "write " + record_.temporary));
        } else {
          *content = ReadContent(output_);
        }
      },
      [this, content] {
        const Result<Content>& read = **content;
        if (!read) return Fail(read.error().Text(), false);
        FaultPoint(Step::kSynced, run_.groups);
        record_.state = State::kCommitting;
        record_.words.clear();
        record_.output_id = IdentityOf(output_.get());
        record_.output_sha256 = read.value().sha256;
        record_.output = (run_.out / (fs::path(path_).filename().string() + run_.options.suffix)).string();
        output_.Reset();
        Save(Stage::kCommitting);
      });
}

/// From "committing" there is only one way: forward. The output is whole and on disk under its temporary name, or has
/// its final name already; its identity tells which.
void Job::RenameOutput() {
  stage_ = Stage::kCommitting;
  if (IdentityAt(record_.output) != record_.output_id &&
      ::renameat2(AT_FDCWD, record_.temporary.c_str(), AT_FDCWD, record_.output.c_str(), RENAME_NOREPLACE) != 0) {
    const int sys = errno;
    const std::string theirs = "." + id_.substr(0, 8) + run_.options.suffix;
    if (sys == EEXIST && !record_.output.ends_with(theirs)) {
      // Another segment of the same name came first (a ring, two directories): never replace its output.
      const fs::path name = fs::path(path_).filename().string() + theirs;
      record_.output = (fs::path(record_.output).parent_path() / name).string();
      return Save(Stage::kCommitting);
    }
    const std::string why = os::SysError(sys, "rename " + record_.temporary + " to " + record_.output).Text();
    if (sys == ENOENT || sys == EEXIST) {  // somebody took the output away: the work is to be done again
      record_.output.clear();
      record_.output_id.clear();
      record_.output_sha256.clear();
      return Fail(why, false);
    }
    run_.report.Complain(why);  // stays "committing" for the next run
    ++run_.counters.failed;
    return Finish();
  }
  FaultPoint(Step::kRenamed, run_.groups);
  directory_ = fs::path(record_.output).parent_path();
  run_.unsynced.push_back(this);
}

void Job::Synced() {
  if (stage_ == Stage::kCommitting) {
    FaultPoint(Step::kDurable, run_.groups);
    return NoteDone();
  }
  FaultPoint(Step::kArchived, run_.groups);
  if (segment_.valid() && IdentityAt(path_) == id_) {
    std::string why;
    struct stat now {};
    if (::fstat(segment_.get(), &now) != 0 || now.st_size != record_.bytes) {
      why = path_ + ": it has changed since it was processed";
    } else if (const Seal seal = TrySeal(run_.places.Near(path_), segment_, 1s, run_.clock, false);
               !seal.sealed && seal.certain) {
      why = path_ + ": " + seal.reason;
    } else if (auto removed = os::RemoveFile(path_); !removed) {
      why = removed.error().Text();
    }
    if (!why.empty()) {  // the next run tries again
      run_.report.Complain(why + ": it stays beside its compressed copy");
      ++run_.counters.failed;
      return Finish();
    }
  }
  FaultPoint(Step::kRemoved, run_.groups);
  record_.state = State::kCompressed;
  record_.path = record_.archive;
  record_.temporary.clear();
  ++run_.counters.compressed;
  Announce("compressed", record_.archive);
  Save(Stage::kClosing);
}

void Job::NoteDone() {
  record_.state = State::kDone;
  record_.words.clear();
  record_.temporary.clear();
  // What a crash left at "committing" came here without a seal: the copy takes over what the seal looked at.
  copying_ = WantsCopy() && !interrupted_ && (sealed_at_ != os::Clock::Steady{} || SealIt());
  if (copying_) record_.temporary = TemporaryCopy();
  ++run_.counters.done;
  Announce("done", std::to_string(record_.lines) + " lines, " + std::to_string(record_.bytes) + " bytes, attempt " +
                       std::to_string(record_.attempts) + (record_.certain ? "" : ", seal observed, not certain"));
  Save(Stage::kNoting);
}

void Job::Fail(const std::string& why, bool for_good) {
  ++run_.counters.failed;
  output_.Reset();
  DropTemporary();
  record_.words = why;
  if (for_good || record_.attempts >= run_.options.attempts) {
    record_.state = State::kQuarantined;
    record_.next_at = 0;
  } else {
    record_.state = State::kRetry;
    record_.next_at = UnixNow(run_.clock) + BackOff(record_);
  }
  Announce(record_.state == State::kRetry ? "failed" : "quarantined",
           "attempt " + std::to_string(record_.attempts) + ": " + OneLine(why));
  if (!run_.options.json) run_.report.Complain(path_ + ": " + OneLine(why));
  Save(Stage::kNoting);
}

/// A signal ended the run, and with it the command: that was no failure of the command.
void Job::Release() {
  output_.Reset();
  DropTemporary();
  record_.state = State::kSealed;
  --record_.attempts;
  record_.words = "the run was interrupted";
  Announce("interrupted", "its turn comes again in the next run");
  Save(Stage::kNoting);
}

void Job::Save(Stage stage) {
  stage_ = stage;
  record_.updated = UnixNow(run_.clock);
  run_.unsaved.push_back(this);
}

void Job::Announce(std::string event, std::string detail) {
  event_ = std::move(event);
  detail_ = std::move(detail);
}

void Job::DropTemporary() {
  if (!record_.temporary.empty()) (void)os::RemoveFile(record_.temporary).has_value();
  record_.temporary.clear();
}

void Job::Finish() {
  stage_ = Stage::kFinished;
  // Held while it goes, so that nobody can hold a lock on a file that has no name.
  const bool no_longer_needed =
      record_.state == State::kOpen || record_.state == State::kSealed || IsSettled(record_.state);
  if (claim_.held() && no_longer_needed) (void)os::RemoveFile(run_.claims / id_).has_value();
  claim_.Release();
  segment_.Reset();
  output_.Reset();
}

}  // namespace rotatelogs
