#include "rotatelogs/rendezvous.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <ctime>

#include "os/file.h"
#include "rotatelogs/spool.h"

namespace rotatelogs {

using os::Error;
using os::ErrorKind;
using os::Result;

namespace {

constexpr char kMagic[8] = {'b', 'a', 't', 'o', 'n', 'r', 'l', '1'};
constexpr size_t kPath = 4096;
constexpr size_t kCounters = 8;

struct Slot {
  uint64_t epoch;
  int64_t interval_end;
  int64_t reopen_until;
  int64_t ring_index;
  uint64_t device;
  uint64_t inode;
  char path[kPath];
  char previous[kPath];
  uint64_t sum;
};

/// FNV-1a over everything before `sum`: a slot that a power failure left half written is not believed.
uint64_t Sum(const Slot& slot) {
  uint64_t hash = 14695981039346656037ULL;
  const auto* bytes = reinterpret_cast<const unsigned char*>(&slot);
  for (size_t i = 0; i < offsetof(Slot, sum); ++i) hash = (hash ^ bytes[i]) * 1099511628211ULL;
  return hash;
}

void OnAlarm(int) {}  // its only job is to end flock(2) with EINTR

/// flock() that gives up. An interval timer, so that an alarm just before the call does not leave it waiting.
bool LockWithin(int fd, int operation, std::chrono::milliseconds patience) {
  if (::flock(fd, operation | LOCK_NB) == 0) return true;
  if (patience.count() <= 0) return false;
  timespec start{};
  ::clock_gettime(CLOCK_MONOTONIC, &start);
  struct sigaction alarm {};
  struct sigaction before {};
  alarm.sa_handler = OnAlarm;
  ::sigaction(SIGALRM, &alarm, &before);
  const itimerval tick{{0, 20000}, {0, 20000}};
  bool held = false;
  for (;;) {
    ::setitimer(ITIMER_REAL, &tick, nullptr);  // each time: a child that was forked in a signal handler has lost it
    if (::flock(fd, operation) == 0) {
      held = true;
      break;
    }
    if (errno != EINTR) break;
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t waited = (now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000;
    if (waited >= patience.count()) break;
  }
  const itimerval off{};
  ::setitimer(ITIMER_REAL, &off, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  return held;
}

Result<os::Fd> OpenAt(const os::Fd& directory, const char* name, int flags, const std::string& shown) {
  for (;;) {
    os::Fd fd(::openat(directory.get(), name, flags | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (fd.valid()) return fd;
    const int sys = errno;
    if (sys != EINTR) return os::SysError(sys, "open " + shown + "/" + name);
  }
}

std::optional<Segment> FromSlot(const Slot& slot, uint64_t epoch) {
  if (slot.epoch != epoch || slot.sum != Sum(slot)) return std::nullopt;
  Segment out;
  out.path = slot.path;
  out.previous = slot.previous;
  out.interval_end = slot.interval_end;
  out.reopen_until = slot.reopen_until;
  out.ring_index = slot.ring_index;
  out.device = slot.device;
  out.inode = slot.inode;
  return out;
}

std::string Value(const std::string& text, const std::string& key) {
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (text.compare(at, key.size() + 1, key + "=") == 0) {
      return text.substr(at + key.size() + 1, end - at - key.size() - 1);
    }
    at = end + 1;
  }
  return "";
}

uint64_t Number(const std::string& text, const std::string& key) {
  return std::strtoull(Value(text, key).c_str(), nullptr, 10);
}

}  // namespace

struct Rendezvous::Shared {
  char magic[8];
  std::atomic<uint32_t> writers;
  std::atomic<uint64_t> epoch;
  std::atomic<uint64_t> hooks_done;
  std::atomic<uint64_t> bytes[kCounters];  // by epoch: a writer that lags behind does not count into the new segment
  Slot slots[2];
  // Added later, and at the end: an older release does not see it, and its state grows when we open it.
  std::atomic<uint32_t> last_id;
  std::atomic<uint64_t> turn;
};

bool IsLocalFileSystem(int fd) {
  struct statfs system {};
  if (::fstatfs(fd, &system) != 0) return true;
  const auto type = static_cast<unsigned long>(system.f_type);
  // NFS, SMB/CIFS (three of them), FUSE, 9P, AFS, Ceph, Lustre, GFS2, OCFS2, VirtualBox
  for (const unsigned long remote :
       {0x6969UL, 0x517BUL, 0xFF534D42UL, 0xFE534D42UL, 0x65735546UL, 0x01021997UL, 0x5346414FUL, 0x00C36400UL,
        0x0BD00BD0UL, 0x01161970UL, 0x7461636FUL, 0x786F4256UL}) {
    if (type == remote) return false;
  }
  return true;
}

Result<std::unique_ptr<Rendezvous>> Rendezvous::Join(const MeetingPlace& place) {
  static_assert(std::atomic<uint64_t>::is_always_lock_free, "shared between processes");
  const std::string path = place.Path();
  std::unique_ptr<Rendezvous> out(new Rendezvous);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    const int sys = errno;
    return os::SysError(sys, "create " + path);
  }
  auto directory = os::Open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  struct stat status {};
  if (::lstat(path.c_str(), &status) == 0 && status.st_uid != ::geteuid()) {
    return Error{ErrorKind::kInvalid, 0,
                 path + " belongs to user " + std::to_string(status.st_uid) + ": user " + std::to_string(::geteuid()) +
                     " cannot log to the same target"};
  }
  if (!directory) return directory.error();
  out->directory_ = std::move(directory).value();
  out->local_ = IsLocalFileSystem(out->directory_.get());
  auto lock = OpenAt(out->directory_, "lock", O_RDWR | O_CREAT, path);
  if (!lock) return lock.error();
  out->lock_ = std::move(lock).value();
  if (!out->Lock(std::chrono::seconds(10))) {
    return Error{ErrorKind::kBusy, EBUSY, "lock " + path + "/lock"};
  }
  auto state = OpenAt(out->directory_, "state", O_RDWR | O_CREAT, path);
  if (!state) return state.error();
  if (::fstat(state.value().get(), &status) != 0) return os::SysError(errno, "read " + path + "/state");
  const bool fresh = status.st_size < static_cast<off_t>(sizeof(Shared));
  // Blocks are allocated now: a store into a hole on a full disk would be SIGBUS.
  if (const int failed = fresh ? ::posix_fallocate(state.value().get(), 0, sizeof(Shared)) : 0) {
    return os::SysError(failed, "write " + path + "/state");
  }
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, state.value().get(), 0);
  if (memory == MAP_FAILED) return os::SysError(errno, "map " + path + "/state");
  out->shared_ = static_cast<Shared*>(memory);
  static constexpr char kZero[8] = {};
  if (std::memcmp(out->shared_->magic, kZero, sizeof kZero) == 0) {
    std::memcpy(out->shared_->magic, kMagic, sizeof kMagic);  // the rest is zero: epoch 0, no segment
  } else if (std::memcmp(out->shared_->magic, kMagic, sizeof kMagic) != 0) {
    return Error{ErrorKind::kInvalid, 0, path + "/state was written by another release of rotatelogs"};
  }
  auto self = os::Identify(::getpid());
  if (!self) return self.error();
  out->since_ = ::time(nullptr);
  out->parent_ = ::getppid();
  if (auto server = os::ProgramName(out->parent_)) out->server_ = std::move(server).value();
  // A process can hold several targets only if it is a test; the suffix keeps their leases apart.
  for (int attempt = 0;; ++attempt) {
    out->lease_name_ = LeaseName(self.value().pid, self.value().start_time);
    if (attempt > 0) out->lease_name_ += "." + std::to_string(attempt);
    auto lease = OpenAt(out->directory_, out->lease_name_.c_str(), O_RDWR | O_CREAT | O_EXCL, path);
    if (!lease && lease.error().sys == EEXIST && attempt < 1000) continue;
    if (!lease) return lease.error();
    out->lease_ = std::move(lease).value();
    break;
  }
  if (::flock(out->lease_.get(), LOCK_EX | LOCK_NB) != 0) return os::SysError(errno, "lock " + out->lease_name_);
  out->UpdateLease("", 0, 0);
  out->CountWriters();
  out->Unlock();
  return out;
}

std::unique_ptr<Rendezvous> Rendezvous::Alone() {
  std::unique_ptr<Rendezvous> out(new Rendezvous);
  out->alone_ = true;
  void* memory = ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  out->shared_ = memory == MAP_FAILED ? nullptr : static_cast<Shared*>(memory);
  if (out->shared_) out->shared_->writers = 1;
  return out->shared_ ? std::move(out) : nullptr;
}

Rendezvous::~Rendezvous() {
  if (shared_) ::munmap(shared_, sizeof(Shared));
}

uint64_t Rendezvous::Epoch() const {
  return shared_->epoch.load(std::memory_order_acquire);
}

uint64_t Rendezvous::Bytes(uint64_t epoch) const {
  return shared_->bytes[epoch % kCounters].load(std::memory_order_relaxed);
}

void Rendezvous::SetBytes(uint64_t epoch, uint64_t bytes) {
  shared_->bytes[epoch % kCounters].store(bytes, std::memory_order_relaxed);
}

bool Rendezvous::Reserve(uint64_t epoch, uint64_t expected, uint64_t bytes) {
  return shared_->bytes[epoch % kCounters].compare_exchange_strong(expected, expected + bytes,
                                                                   std::memory_order_relaxed);
}

uint32_t Rendezvous::Writers() const {
  return shared_->writers.load(std::memory_order_relaxed);
}

uint32_t Rendezvous::NewId() {
  for (;;) {
    if (const uint32_t id = shared_->last_id.fetch_add(1) + 1; id != 0) return id;
  }
}

uint64_t Rendezvous::Turn() const {
  return shared_->turn.load(std::memory_order_relaxed);
}

bool Rendezvous::PassTurn(uint64_t from, uint64_t to) {
  return shared_->turn.compare_exchange_strong(from, to, std::memory_order_acq_rel);
}

bool Rendezvous::Lock(std::chrono::milliseconds patience) {
  return alone_ || LockWithin(lock_.get(), LOCK_EX, patience);
}

void Rendezvous::Unlock() {
  if (!alone_) ::flock(lock_.get(), LOCK_UN);
}

std::optional<Segment> Rendezvous::Current() const {
  const uint64_t epoch = Epoch();
  if (epoch == 0) return std::nullopt;
  return FromSlot(shared_->slots[epoch & 1], epoch);
}

void Rendezvous::Publish(const Segment& segment) {
  const uint64_t next = Epoch() + 1;
  Slot& slot = shared_->slots[next & 1];
  std::memset(&slot, 0, sizeof slot);
  slot.epoch = next;
  slot.interval_end = segment.interval_end;
  slot.reopen_until = segment.reopen_until;
  slot.ring_index = segment.ring_index;
  slot.device = segment.device;
  slot.inode = segment.inode;
  segment.path.copy(slot.path, kPath - 1);
  segment.previous.copy(slot.previous, kPath - 1);
  slot.sum = Sum(slot);
  shared_->epoch.store(next, std::memory_order_release);
}

uint64_t Rendezvous::HooksDone() const {
  return shared_->hooks_done.load(std::memory_order_relaxed);
}

void Rendezvous::SetHooksDone(uint64_t epoch) {
  shared_->hooks_done.store(epoch, std::memory_order_relaxed);
}

void Rendezvous::CountWriters() {
  if (alone_) return;
  uint32_t living = 1;
  auto names = os::ListDirectory("/proc/self/fd/" + std::to_string(directory_.get()));
  if (!names) return;
  for (const std::string& name : names.value()) {
    if (!IsLeaseName(name) || name == lease_name_) continue;
    auto lease = OpenAt(directory_, name.c_str(), O_RDWR, "");
    if (!lease) continue;
    if (::flock(lease.value().get(), LOCK_EX | LOCK_NB) == 0) {
      ::unlinkat(directory_.get(), name.c_str(), 0);
    } else {
      ++living;
    }
  }
  shared_->writers.store(living, std::memory_order_relaxed);
}

void Rendezvous::UpdateLease(const std::string& segment, uint64_t device, uint64_t inode) {
  if (alone_) return;
  auto self = os::Identify(::getpid());
  std::string text = "pid=" + std::to_string(::getpid()) + "\n";
  if (self) {
    text += "start=" + std::to_string(self.value().start_time) + "\nboot=" + self.value().boot_id + "\n";
    // The file is named after the process that joined; a child that drains its pipe writes another pid into it.
    if (!lease_name_.starts_with(LeaseName(self.value().pid, self.value().start_time))) text += "draining=1\n";
  }
  if (dropped_lines_ > 0) {
    text +=
        "dropped_lines=" + std::to_string(dropped_lines_) + "\ndropped_bytes=" + std::to_string(dropped_bytes_) + "\n";
  }
  text += "parent=" + std::to_string(parent_) + "\nserver=" + server_ + "\nsince=" + std::to_string(since_) +
          "\ndevice=" + std::to_string(device) + "\ninode=" + std::to_string(inode) + "\nsegment=" + segment + "\n";
  // For people and for processlogs, which reads it under the lock. Logging does not depend on it: a full disk is no
  // error.
  const ssize_t written = ::pwrite(lease_.get(), text.data(), text.size(), 0);
  if (written > 0 && ::ftruncate(lease_.get(), written) != 0) return;
}

void Rendezvous::Leave() {
  if (alone_ || !lease_.valid()) return;
  ::unlinkat(directory_.get(), lease_name_.c_str(), 0);
  lease_.Reset();
  const uint32_t writers = Writers();
  if (writers > 1) shared_->writers.store(writers - 1, std::memory_order_relaxed);
}

std::vector<std::string> Rendezvous::SpoolNames() const {
  std::vector<std::string> out;
  if (alone_) return out;
  auto names = os::ListDirectory("/proc/self/fd/" + std::to_string(directory_.get()));
  if (!names) return out;
  for (std::string& name : names.value()) {
    if (IsSpoolName(name)) out.push_back(std::move(name));
  }
  return out;
}

bool Rendezvous::Gone() const {
  if (alone_) return false;
  struct stat status {};
  return ::fstat(lock_.get(), &status) == 0 && status.st_nlink == 0;
}

bool Rendezvous::Local() const {
  return local_;
}

namespace {
// The reader's idea of the mapped file, without mapping it: a plain read under the lock.
struct Header {
  char magic[8];
  uint32_t writers;
  uint64_t epoch;
  uint64_t hooks_done;
  uint64_t bytes[kCounters];
  Slot slots[2];
};
}  // namespace

bool HasOrphans(const MeetingPlace& place) {
  const std::string path = place.Path();
  os::Fd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory.valid()) return false;
  auto names = os::ListDirectory(path);
  if (!names || std::none_of(names.value().begin(), names.value().end(), IsSpoolName)) return false;
  // Under the lock: who takes a spool over must not find it locked by us.
  auto lock = OpenAt(directory, "lock", O_RDONLY, path);
  if (!lock || !LockWithin(lock.value().get(), LOCK_SH, std::chrono::seconds(1))) return false;
  for (const std::string& name : names.value()) {
    if (IsSpoolName(name) && Spool::IsOrphan(directory, name)) return true;
  }
  return false;
}

Result<RendezvousView> Look(const std::filesystem::path& rendezvous, std::chrono::milliseconds patience) {
  struct stat status {};
  if (::lstat(rendezvous.c_str(), &status) != 0) {
    const int sys = errno;
    return os::SysError(sys, "look at " + rendezvous.string());
  }
  if (!S_ISDIR(status.st_mode)) return Error{ErrorKind::kNotFound, ENOTDIR, "look at " + rendezvous.string()};
  auto directory = os::Open(rendezvous, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (!directory) return directory.error();
  auto lock = OpenAt(directory.value(), "lock", O_RDONLY, rendezvous.string());
  if (!lock) return lock.error();
  if (!LockWithin(lock.value().get(), LOCK_SH, patience)) {
    return Error{ErrorKind::kBusy, EBUSY, "lock " + rendezvous.string() + "/lock"};
  }
  RendezvousView out;
  out.lock = std::move(lock).value();
  auto state = OpenAt(directory.value(), "state", O_RDONLY, rendezvous.string());
  if (state) {
    auto header = std::make_unique<Header>();
    const ssize_t n = ::pread(state.value().get(), header.get(), sizeof(Header), 0);
    if (n == static_cast<ssize_t>(sizeof(Header)) && std::memcmp(header->magic, kMagic, sizeof kMagic) == 0 &&
        header->epoch > 0) {
      out.current = FromSlot(header->slots[header->epoch & 1], header->epoch);
    }
  }
  auto names = os::ListDirectory(rendezvous);
  if (!names) return names.error();
  for (const std::string& name : names.value()) {
    if (!IsLeaseName(name)) continue;
    auto lease = OpenAt(directory.value(), name.c_str(), O_RDONLY, rendezvous.string());
    if (!lease) {
      if (lease.error().kind == ErrorKind::kNotFound) continue;
      return lease.error();
    }
    if (::flock(lease.value().get(), LOCK_SH | LOCK_NB) == 0) continue;  // its writer is gone
    std::string text(8192, '\0');
    const ssize_t n = ::pread(lease.value().get(), text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<size_t>(n) : 0);
    LeaseView view;
    view.writer = {static_cast<pid_t>(Number(text, "pid")), Number(text, "start"), Value(text, "boot")};
    view.parent = static_cast<pid_t>(Number(text, "parent"));
    view.server = Value(text, "server");
    view.draining = Value(text, "draining") == "1";
    view.dropped_lines = Number(text, "dropped_lines");
    view.dropped_bytes = Number(text, "dropped_bytes");
    view.since = static_cast<int64_t>(Number(text, "since"));
    view.segment = Value(text, "segment");
    view.device = Number(text, "device");
    view.inode = Number(text, "inode");
    out.writers.push_back(std::move(view));
  }
  return out;
}

}  // namespace rotatelogs
