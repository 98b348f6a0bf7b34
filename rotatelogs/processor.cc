#include "rotatelogs/processor.h"

#include <Poco/JSON/Object.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <sstream>
#include <unordered_set>

#include "os/file.h"
#include "os/lock_file.h"
#include "os/process.h"
#include "rotatelogs/compress.h"
#include "rotatelogs/identity.h"
#include "rotatelogs/ledger.h"
#include "rotatelogs/report.h"
#include "rotatelogs/seal.h"

namespace rotatelogs {

using namespace std::chrono_literals;
using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Result;
using os::Status;
namespace fs = std::filesystem;

namespace {

constexpr size_t kWords = 2048;  // of stderr that are kept

/// Debug builds die here when PROCESSLOGS_FAULT names the step: how the tests get a crash between any two steps.
void FaultPoint([[maybe_unused]] const char* step) {
#ifdef BATON_FAULTS
  const char* wanted = ::getenv("PROCESSLOGS_FAULT");
  if (wanted && std::strcmp(wanted, step) == 0) ::raise(SIGKILL);
#endif
}

int64_t UnixNow(const os::Clock& clock) {
  return std::chrono::system_clock::to_time_t(clock.WallNow());
}

fs::path Absolute(const fs::path& path) {
  std::error_code failed;
  const fs::path out = fs::absolute(path, failed);
  return failed ? path : out.lexically_normal();
}

struct Candidate {
  fs::path path;
  os::Fd fd;
  struct stat status {};
  std::string id;
};

/// PATH search, which Spawn() leaves to its callers.
std::string FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* variable = ::getenv("PATH");
  std::istringstream list(variable ? variable : "/usr/local/bin:/usr/bin:/bin");
  for (std::string directory; std::getline(list, directory, ':');) {
    const std::string path = (directory.empty() ? "." : directory) + "/" + name;
    if (::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path)) return path;
  }
  return name;
}

std::string WithPath(std::string argument, const std::string& path) {
  for (size_t at = 0; (at = argument.find("{}", at)) != std::string::npos; at += path.size())
    argument.replace(at, 2, path);
  return argument;
}

class Run {
 public:
  Run(const RunOptions& options, os::Clock& clock, const Say& say, const Say& complain)
      : options_(options), clock_(clock), say_(say), complain_(complain) {}

  int All() {
    ::signal(SIGIO, SIG_IGN);  // an opener breaks our read lease in the moment that we hold it
    const bool exists = fs::exists(options_.ledger);
    if (!options_.dry_run || exists) {
      auto opened = Ledger::Open(options_.ledger, options_.dry_run ? Ledger::Mode::kReadOnly : Ledger::Mode::kCreate);
      if (!opened) return Fatal(opened.error());
      ledger_ = std::move(opened).value();
      auto all = ledger_->All();
      if (!all) return Fatal(all.error());
      records_ = std::move(all).value();
    }
    for (const auto& [id, record] : records_) {
      if (!record.output_id.empty()) ours_.insert(record.output_id);
      if (!record.archive_id.empty()) ours_.insert(record.archive_id);
    }
    claims_ = options_.ledger.string() + ".claims";
    if (!options_.dry_run) {
      if (auto made = os::MakeDirectories(claims_, 0700); !made) return Fatal(made.error());
      if (!options_.out.empty()) {
        if (auto made = os::MakeDirectories(options_.out); !made) return Fatal(made.error());
      }
    }
    std::vector<fs::path> paths;
    for (const std::string& pattern : options_.patterns) {
      glob_t found{};
      if (::glob(pattern.c_str(), 0, nullptr, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; ++i) paths.push_back(Absolute(found.gl_pathv[i]));
      }
      ::globfree(&found);
    }
    std::sort(paths.begin(), paths.end());
    paths.erase(std::unique(paths.begin(), paths.end()), paths.end());
    std::vector<Candidate> work;
    for (const fs::path& path : paths) Consider(path, work);
    std::stable_sort(work.begin(), work.end(), [](const Candidate& a, const Candidate& b) {
      return std::tie(a.status.st_mtim.tv_sec, a.status.st_mtim.tv_nsec) <
             std::tie(b.status.st_mtim.tv_sec, b.status.st_mtim.tv_nsec);
    });
    for (Candidate& candidate : work) {
      // Reopened only now: a run may have thousands to do, and not as many descriptors.
      if (auto fd = os::Open(candidate.path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)) {
        candidate.fd = std::move(fd).value();
        if (IdentityOf(candidate.fd.get()) == candidate.id) One(candidate);
        candidate.fd.Reset();
      }
      if (fatal_) return 3;
    }
    if (!options_.json) {
      say_(std::to_string(done_) + " processed, " + std::to_string(failed_) + " failed, " + std::to_string(waiting_) +
           " not sealed yet, " + std::to_string(settled_) + " settled before");
    }
    return failed_ > 0 ? 1 : 0;
  }

 private:
  int Fatal(const Error& error) {
    complain_("processlogs: " + error.Text());
    fatal_ = true;
    return 3;
  }

  void Event(const char* what, const fs::path& path, const std::string& id, const std::string& detail) {
    if (!options_.json) {
      say_(std::string(what) + " " + path.string() + (detail.empty() ? "" : ": " + detail));
      return;
    }
    Poco::JSON::Object::Ptr object = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
    object->set("event", std::string(what));
    object->set("segment", path.string());
    object->set("id", id);
    object->set("time", UnixNow(clock_));
    if (!detail.empty()) object->set("detail", detail);
    std::ostringstream text;
    object->stringify(text);
    say_(text.str());
  }

  bool Settled(const Record& record) const {
    return record.state == "done" || record.state == "compressed" || record.state == "quarantined";
  }

  /// Notes what there is to do about one path. Cheap for what was done before.
  void Consider(const fs::path& path, std::vector<Candidate>& work) {
    Candidate candidate;
    candidate.path = path;
    if (::lstat(path.c_str(), &candidate.status) != 0 || !S_ISREG(candidate.status.st_mode)) return;
    auto fd = os::Open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
    if (!fd) {
      complain_("processlogs: " + fd.error().Text());
      ++failed_;
      return;
    }
    candidate.id = IdentityOf(fd.value().get());
    if (candidate.id.empty() || ours_.count(candidate.id) > 0 || !seen_.insert(candidate.id).second) return;
    const auto known = records_.find(candidate.id);
    if (known != records_.end()) {
      const bool compress = known->second.state == "done" && options_.compress != Compression::kNone;
      if (Settled(known->second) && !compress) {
        ++settled_;
        return;
      }
      if (known->second.state == "retry" && known->second.next_at > UnixNow(clock_)) {
        Event("waiting", path, candidate.id,
              "attempt " + std::to_string(known->second.attempts + 1) + " is due in " +
                  std::to_string(known->second.next_at - UnixNow(clock_)) + " s");
        return;
      }
    }
    work.push_back(std::move(candidate));
  }

  void One(const Candidate& segment) {
    const Seal seal = TrySeal(segment.path, segment.fd, options_.min_age, clock_, !options_.dry_run);
    if (!seal.sealed) {
      ++waiting_;
      Event("open", segment.path, segment.id, seal.reason);
      return;
    }
    if (options_.dry_run) {
      Event("would-process", segment.path, segment.id, seal.certain ? "sealed" : "observed, not certain");
      return;
    }
    const fs::path claim_path = claims_ / segment.id;
    auto claim = os::LockFile::Acquire(claim_path, 0ms, clock_);
    if (!claim) {
      if (claim.error().kind == ErrorKind::kBusy) {
        Event("busy", segment.path, segment.id, "another processlogs works on it");
      } else {
        Fatal(claim.error());
      }
      return;
    }
    FaultPoint("locked");
    Record record;
    auto known = ledger_->Find(segment.id);
    if (known) {
      record = std::move(known).value();  // another run may have finished it since we read the ledger
    } else if (known.error().kind == ErrorKind::kNotFound) {
      record.id = segment.id;
    } else {
      Fatal(known.error());
      return;
    }
    record.path = segment.path.string();
    if (Process(segment, record, seal) && options_.compress != Compression::kNone && record.state == "done") {
      Compress(segment, record);
    }
    // Held while it goes, so that nobody can hold a lock on a file that has no name.
    if (Settled(record)) (void)os::RemoveFile(claim_path).has_value();
  }

  bool Save(Record& record) {
    record.updated = UnixNow(clock_);
    auto saved = ledger_->Put(record);
    if (!saved) Fatal(saved.error());
    return saved.has_value();
  }

  /// @return true when the segment is done, now or before
  bool Process(const Candidate& segment, Record& record, const Seal& seal) {
    if (record.state == "committing") return FinishCommit(segment, record);
    if (Settled(record)) return record.state != "quarantined";
    if (!record.temporary.empty()) (void)os::RemoveFile(record.temporary).has_value();  // of an attempt that died
    if (record.state == "claimed" && record.attempts >= options_.attempts) {
      record.words = "the run ended in its last attempt";
      return Failed(segment, record);
    }
    auto content = ReadContent(segment.fd);
    if (!content) {
      record.words = content.error().Text();
      ++record.attempts;
      return Failed(segment, record);
    }
    record.sha256 = content.value().sha256;
    record.bytes = content.value().bytes;
    record.lines = content.value().lines;
    record.state = "claimed";
    ++record.attempts;
    record.temporary.clear();
    if (!options_.out.empty()) {
      record.temporary =
          (Absolute(options_.out) / ("." + segment.path.filename().string() + "." + record.id.substr(0, 8) + "." +
                                     std::to_string(record.attempts) + ".tmp"))
              .string();
    }
    if (!Save(record)) return false;
    FaultPoint("claimed");
    os::Fd output;
    if (!record.temporary.empty()) {
      auto made = os::Open(record.temporary, O_WRONLY | O_CREAT | O_TRUNC, 0644);
      if (!made) {
        record.words = made.error().Text();
        return Failed(segment, record);
      }
      output = std::move(made).value();
    }
    if (!options_.command.empty()) {
      const std::string failure = RunCommand(segment, record, output);
      if (!failure.empty()) {
        record.words = failure + (record.words.empty() ? "" : ": " + record.words);
        return Failed(segment, record);
      }
    }
    FaultPoint("ran");
    struct stat after {};
    if (::fstat(segment.fd.get(), &after) != 0 || after.st_size != record.bytes ||
        after.st_mtim.tv_sec != segment.status.st_mtim.tv_sec ||
        after.st_mtim.tv_nsec != segment.status.st_mtim.tv_nsec) {
      record.words = "the segment changed while it was processed";
      return Failed(segment, record);
    }
    record.words.clear();
    if (output.valid()) {
      if (::fsync(output.get()) != 0) {
        record.words = os::SysError(errno, "write " + record.temporary).Text();
        return Failed(segment, record);
      }
      record.state = "committing";
      record.output_id = IdentityOf(output.get());
      record.output = (Absolute(options_.out) / (segment.path.filename().string() + ".out")).string();
      if (!Save(record)) return false;
      FaultPoint("committing");
      if (!FinishCommit(segment, record)) return false;
    } else {
      record.state = "done";
      if (!Save(record)) return false;
    }
    ++done_;
    Event("done", segment.path, segment.id,
          std::to_string(record.lines) + " lines, " + std::to_string(record.bytes) + " bytes, attempt " +
              std::to_string(record.attempts) + (seal.certain ? "" : ", seal observed, not certain"));
    return true;
  }

  /// From "committing" there is only one way: forward. The output is whole and on disk under its temporary name, or has
  /// its final name already; its identity tells which.
  bool FinishCommit(const Candidate& segment, Record& record) {
    const auto is_output = [&record](const std::string& path) {
      os::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      return fd.valid() && IdentityOf(fd.get()) == record.output_id;
    };
    const std::string plain = record.output;
    for (int attempt = 0; !is_output(record.output); ++attempt) {
      if (::renameat2(AT_FDCWD, record.temporary.c_str(), AT_FDCWD, record.output.c_str(), RENAME_NOREPLACE) == 0)
        break;
      const int sys = errno;
      if (sys == EEXIST && attempt == 0) {
        // Another segment of the same name came first (a ring, two directories): never replace its output.
        const std::string stem = plain.substr(0, plain.size() - 4);
        record.output = stem + "." + record.id.substr(0, 8) + ".out";
        if (!Save(record)) return false;
        continue;
      }
      record.words = os::SysError(sys, "rename " + record.temporary + " to " + record.output).Text();
      if (sys == ENOENT || sys == EEXIST) {  // somebody took the output away: the work is to be done again
        record.output.clear();
        record.output_id.clear();
        return Failed(segment, record);
      }
      complain_("processlogs: " + record.words);
      ++failed_;
      return false;
    }
    FaultPoint("renamed");
    if (auto synced = os::SyncDirectory(fs::path(record.output).parent_path()); !synced) {
      complain_("processlogs: " + synced.error().Text());
    }
    ours_.insert(record.output_id);
    record.temporary.clear();
    record.state = "done";
    return Save(record);
  }

  bool Failed(const Candidate& segment, Record& record) {
    ++failed_;
    if (!record.temporary.empty()) (void)os::RemoveFile(record.temporary).has_value();
    record.temporary.clear();
    if (record.attempts >= options_.attempts) {
      record.state = "quarantined";
      record.next_at = 0;
    } else {
      record.state = "retry";
      const int64_t base = std::min<int64_t>(int64_t{60} << std::min<int64_t>(record.attempts - 1, 10), 6 * 3600);
      // Jitter from the identity: segments that failed together do not come back together.
      const int64_t jitter = std::strtol(record.id.substr(0, 4).c_str(), nullptr, 16) % (base / 10 + 1);
      record.next_at = UnixNow(clock_) + base + jitter;
    }
    const bool saved = Save(record);
    Event(record.state == "retry" ? "failed" : "quarantined", segment.path, segment.id,
          "attempt " + std::to_string(record.attempts) + ": " + OneLine(record.words));
    complain_("processlogs: " + segment.path.string() + ": " + OneLine(record.words));
    (void)saved;
    return false;
  }

  /// @return why it failed, empty on success; stderr's last words in record.words
  std::string RunCommand(const Candidate& segment, Record& record, const os::Fd& output) {
    record.words.clear();
    os::SpawnOptions spawn;
    spawn.program = FindProgram(options_.command[0]);
    for (const std::string& argument : options_.command) {
      spawn.arguments.push_back(WithPath(argument, segment.path.string()));
    }
    spawn.environment = os::Environment({"SEGMENT", "SEGMENT_ID", "ATTEMPT", "SHA256", "BYTES", "LINES"});
    for (const std::string& entry :
         {"SEGMENT=" + segment.path.string(), "SEGMENT_ID=" + record.id, "ATTEMPT=" + std::to_string(record.attempts),
          "SHA256=" + record.sha256, "BYTES=" + std::to_string(record.bytes),
          "LINES=" + std::to_string(record.lines)}) {
      spawn.environment.push_back(entry);
    }
    auto input = os::Open(segment.path, O_RDONLY | O_NOFOLLOW);
    if (!input) return input.error().Text();
    if (IdentityOf(input.value().get()) != segment.id) return "the segment was renamed";
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return os::SysError(errno, "make a pipe").Text();
    os::Fd words(ends[0]);
    os::Fd theirs(ends[1]);
    spawn.descriptors = {{input.value().get(), 0}, {output.valid() ? output.get() : 1, 1}, {theirs.get(), 2}};
    spawn.new_session = true;  // a group of its own, which a timeout ends as a whole
    auto started = os::Spawn(spawn);
    if (!started) return started.error().Text();
    theirs.Reset();
    input.value().Reset();
    FaultPoint("running");
    return Await(started.value(), words, record.words);
  }

  std::string Await(os::ProcessHandle& child, const os::Fd& words, std::string& tail) {
    const auto limit = options_.timeout;
    const auto deadline = clock_.SteadyNow() + limit;
    bool timed_out = false;
    bool killed = false;
    bool open = true;
    for (;;) {
      pollfd entries[2] = {{child.fd().get(), POLLIN, 0}, {open ? words.get() : -1, POLLIN, 0}};
      int wait = -1;
      if (limit.count() > 0 && !killed) {
        const auto when = timed_out ? deadline + 5s : deadline;
        const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(when - clock_.SteadyNow()).count();
        wait = static_cast<int>(std::clamp<int64_t>(left + 1, 0, 1000000));
        if (left < 0) {
          ::kill(-child.pid(), timed_out ? SIGKILL : SIGTERM);
          killed = timed_out;
          timed_out = true;
          continue;
        }
      }
      if (::poll(entries, 2, wait) < 0 && errno != EINTR) break;
      if (entries[1].revents != 0) {
        char buffer[4096];
        const ssize_t n = ::read(words.get(), buffer, sizeof buffer);
        if (n <= 0) {
          open = false;
        } else {
          tail.append(buffer, static_cast<size_t>(n));
          if (tail.size() > kWords) tail.erase(0, tail.size() - kWords);
        }
        continue;  // its last words first, then its status
      }
      if (entries[0].revents != 0) break;
    }
    const auto status = child.TryReap();
    if (timed_out) {
      ::kill(-child.pid(), SIGKILL);  // what it left behind in its group
      return "the command ran longer than " + std::to_string(limit.count()) + " s";
    }
    if (!status) return "the command's status was lost";
    return status->signaled || status->code != 0 ? "the command " + status->Text() : "";
  }

  /// Copy, verify, note its identity, rename, remove the original. Each step may be repeated.
  void Compress(const Candidate& segment, Record& record) {
    std::string target = segment.path.string() + CompressionSuffix(options_.compress);
    const std::string temporary =
        (segment.path.parent_path() / ("." + segment.path.filename().string() + "." + record.id.substr(0, 8) + ".ztmp"))
            .string();
    const auto fail = [&](const std::string& why) {
      (void)os::RemoveFile(temporary).has_value();
      complain_("processlogs: " + segment.path.string() + ": " + why + ": kept as it is");
      ++failed_;
    };
    const auto is_archive = [&](const std::string& path) {
      os::Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
      return fd.valid() && !record.archive_id.empty() && IdentityOf(fd.get()) == record.archive_id;
    };
    std::error_code none;
    if (fs::exists(fs::symlink_status(target, none)) && !is_archive(target)) {
      // The copy of another segment that had the same name: in a ring, each round has one.
      target = segment.path.string() + "." + record.id.substr(0, 8) + CompressionSuffix(options_.compress);
    }
    if (!is_archive(target)) {
      (void)os::RemoveFile(temporary).has_value();
      auto copy = os::Open(temporary, O_RDWR | O_CREAT | O_EXCL, 0600);
      if (!copy) return fail(copy.error().Text());
      if (auto made = CompressTo(options_.compress, segment.fd, copy.value()); !made) return fail(made.error().Text());
      auto again = ReadCompressed(options_.compress, copy.value());
      if (!again) return fail(again.error().Text());
      if (again.value().sha256 != record.sha256) return fail("the compressed copy does not hold the same bytes");
      if (::fchown(copy.value().get(), segment.status.st_uid, segment.status.st_gid) != 0 && ::geteuid() == 0) {
        return fail(os::SysError(errno, "chown " + temporary).Text());
      }
      ::fchmod(copy.value().get(), segment.status.st_mode & 07777);
      const timespec times[2] = {segment.status.st_atim, segment.status.st_mtim};
      ::futimens(copy.value().get(), times);
      record.archive_id = IdentityOf(copy.value().get());
      if (!Save(record)) return;
      FaultPoint("copied");
      if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_NOREPLACE) != 0) {
        return fail(os::SysError(errno, "rename " + temporary + " to " + target).Text());
      }
    }
    (void)os::SyncDirectory(segment.path.parent_path()).has_value();
    FaultPoint("archived");
    if (auto removed = os::RemoveFile(segment.path); !removed) return fail(removed.error().Text());
    FaultPoint("removed");
    record.state = "compressed";
    record.path = target;
    ours_.insert(record.archive_id);
    if (Save(record)) Event("compressed", segment.path, segment.id, target);
  }

  const RunOptions& options_;
  os::Clock& clock_;
  const Say& say_;
  const Say& complain_;
  std::unique_ptr<Ledger> ledger_;
  std::unordered_map<std::string, Record> records_;
  std::unordered_set<std::string> ours_;  // outputs and archives: no segments
  std::unordered_set<std::string> seen_;  // one file under two names (-L) is one segment
  fs::path claims_;
  int64_t done_ = 0;
  int64_t failed_ = 0;
  int64_t waiting_ = 0;
  int64_t settled_ = 0;
  bool fatal_ = false;
};

}  // namespace

int RunProcesslogs(const RunOptions& options, os::Clock& clock, const Say& say, const Say& complain) {
  return Run(options, clock, say, complain).All();
}

}  // namespace rotatelogs
