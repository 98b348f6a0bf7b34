#include "rotatelogs/spool.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>

#include "os/process.h"
#include "rotatelogs/kill_point.h"

namespace rotatelogs {

using os::Error;
using os::ErrorKind;
using os::Result;

namespace {

constexpr char kMagic[8] = {'b', 'a', 't', 'o', 'n', 's', 'p', '1'};
constexpr size_t kHeaderBytes = 8192;
constexpr size_t kMark = 16;  // that many zeros at the end of a read's room say that it has not happened

/// begin, end and "a read is in progress" in one word, so that they change together.
constexpr uint64_t Pack(size_t begin, size_t end, bool reading) {
  return static_cast<uint64_t>(begin) << 32 | static_cast<uint64_t>(end) << 1 | (reading ? 1 : 0);
}

std::string BootId() {
  auto self = os::Identify(::getpid());
  return self ? self.value().boot_id : "";
}

}  // namespace

struct Spool::Header {
  char magic[8];
  char boot[48];
  uint64_t input_device;
  uint64_t input_inode;
  std::atomic<uint32_t> id;
  std::atomic<int64_t> orphaned_at;
  std::atomic<uint64_t> range;
  std::atomic<uint64_t> intent_from;
  std::atomic<uint64_t> intent_size;
  std::atomic<uint64_t> intent_length;  ///< last written: 0 = no announcement
  std::atomic<uint64_t> expected;       ///< length of the read in progress; 0: not known
  uint64_t segment_device;
  uint64_t segment_inode;
  char segment[4096];
};

Result<std::unique_ptr<Spool>> Spool::Map(os::Fd file, const std::string& name) {
  static_assert(sizeof(Header) <= kHeaderBytes);
  const int kind = file.valid() ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  // Populated: a kill while read(2) waits for a page could leave a piece both here and in the pipe.
  void* memory = ::mmap(nullptr, kHeaderBytes + kCapacity, PROT_READ | PROT_WRITE, kind | MAP_POPULATE, file.get(), 0);
  if (memory == MAP_FAILED) {
    const int sys = errno;
    return os::SysError(sys, "map " + name);
  }
  std::unique_ptr<Spool> out(new Spool);
  out->file_ = std::move(file);
  out->name_ = name;
  out->header_ = static_cast<Header*>(memory);
  out->data_ = static_cast<char*>(memory) + kHeaderBytes;
  return out;
}

Spool::~Spool() {
  if (header_) ::munmap(header_, kHeaderBytes + kCapacity);
}

std::unique_ptr<Spool> Spool::InMemory() {
  auto out = Map(os::Fd(), "");
  return out ? std::move(out).value() : nullptr;
}

Result<std::unique_ptr<Spool>> Spool::Create(const os::Fd& directory, const std::string& name, InputId input,
                                             uint32_t id) {
  os::Fd file(::openat(directory.get(), name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) {
    const int sys = errno;
    return os::SysError(sys, "create " + name);
  }
  const auto failed = [&](int sys) {
    ::unlinkat(directory.get(), name.c_str(), 0);
    return os::SysError(sys, "create " + name);
  };
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return failed(errno);
  if (const int sys = ::posix_fallocate(file.get(), 0, kHeaderBytes + kCapacity); sys != 0) return failed(sys);
  auto out = Map(std::move(file), name);
  if (!out) return failed(out.error().sys);
  Header& header = *out.value()->header_;
  BootId().copy(header.boot, sizeof header.boot - 1);
  header.input_device = input.device;
  header.input_inode = input.inode;
  header.id = id;
  std::memcpy(header.magic, kMagic, sizeof kMagic);
  return out;
}

Result<std::unique_ptr<Spool>> Spool::TakeOver(const os::Fd& directory, const std::string& name) {
  os::Fd file(::openat(directory.get(), name.c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
  if (!file.valid()) {
    const int sys = errno;
    return os::SysError(sys, "open " + name);
  }
  if (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) return Error{ErrorKind::kBusy, EBUSY, "lock " + name};
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) return os::SysError(errno, "read " + name);
  if (status.st_size != static_cast<off_t>(kHeaderBytes + kCapacity)) return Error{ErrorKind::kNotFound, 0, name};
  auto out = Map(std::move(file), name);
  if (!out) return out;
  Spool& spool = *out.value();
  const Header& header = *spool.header_;
  const uint64_t range = header.range.load();
  const bool reading = (range & 1) != 0;
  size_t end = spool.End();
  static constexpr char kZero[8] = {};
  if (std::memcmp(header.magic, kZero, sizeof kZero) == 0) return Error{ErrorKind::kNotFound, 0, name};
  if (std::memcmp(header.magic, kMagic, sizeof kMagic) != 0 || BootId() != std::string_view(header.boot) ||
      end > kCapacity || spool.Begin() > end || header.intent_length > end) {
    return Error{ErrorKind::kInvalid, 0, name};
  }
  size_t last = kCapacity;
  for (uint64_t word = 0; word == 0 && last >= end + 8;) {  // in words: most of it is zero
    std::memcpy(&word, spool.data_ + last - 8, 8);
    if (word == 0) last -= 8;
  }
  while (last > end && spool.data_[last - 1] == '\0') --last;
  const size_t expected = header.expected.load();
  if (reading && expected == 0) {
    end = last;
  } else if (reading && end + expected <= kCapacity) {
    const std::string_view mark(spool.data_ + end + expected - std::min(kMark, expected), std::min(kMark, expected));
    if (mark.find_first_not_of('\0') != std::string_view::npos) end += expected;
  }
  if (last > end) spool.Zero(end, last);
  spool.clean_ = end;
  spool.SetRange(spool.Begin(), end, false);
  return out;
}

bool Spool::IsOrphan(const os::Fd& directory, const std::string& name) {
  os::Fd file(::openat(directory.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  return file.valid() && ::flock(file.get(), LOCK_SH | LOCK_NB) == 0;
}

InputId Spool::input() const {
  return {header_->input_device, header_->input_inode};
}

uint32_t Spool::id() const {
  return header_->id.load(std::memory_order_relaxed);
}

std::optional<Spool::Label> Spool::ReadLabel(const os::Fd& directory, const std::string& name) {
  os::Fd file(::openat(directory.get(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  struct {
    char magic[8];
    char boot[48];
    uint64_t device, inode;
    uint32_t id;
  } head{};
  static_assert(offsetof(Header, id) == offsetof(decltype(head), id));
  if (!file.valid() || ::pread(file.get(), &head, sizeof head, 0) != static_cast<ssize_t>(sizeof head) ||
      std::memcmp(head.magic, kMagic, sizeof kMagic) != 0 || BootId() != std::string_view(head.boot)) {
    return std::nullopt;
  }
  return Label{{head.device, head.inode}, head.id};
}

os::Status Spool::Rename(const os::Fd& directory, const std::string& name) {
  if (::renameat(directory.get(), name_.c_str(), directory.get(), name.c_str()) != 0) {
    const int sys = errno;
    return os::SysError(sys, "rename " + name_);
  }
  name_ = name;
  header_->orphaned_at.store(0);
  return os::kDone;
}

void Spool::Remove(const os::Fd& directory) {
  if (name_.empty()) return;
  ::unlinkat(directory.get(), name_.c_str(), 0);
}

size_t Spool::Begin() const {
  return header_->range.load(std::memory_order_relaxed) >> 32;
}

size_t Spool::End() const {
  return (header_->range.load(std::memory_order_relaxed) & UINT32_MAX) >> 1;
}

void Spool::SetRange(size_t begin, size_t end, bool reading) {
  header_->range.store(Pack(begin, end, reading), std::memory_order_release);
}

std::string_view Spool::Waiting() const {
  return {data_ + Begin(), End() - Begin()};
}

void Spool::Zero(size_t from, size_t to) {
  std::memset(data_ + from, 0, to - from);
}

char* Spool::Room(size_t expected) {
  const size_t begin = Begin();
  const size_t end = End();
  const size_t size = end - begin;
  // A short rest moves to the front, so that the memory in use stays small and cached; a long one only when it must.
  // It never overlaps itself there: beyond kMaxLineBytes the rest is written, so `begin` is further than `size`.
  if (begin > 0 && size <= begin && (size <= kReadBytes / 4 || kCapacity - end < kReadBytes)) {
    std::memcpy(data_, data_ + begin, size);
    SetRange(0, size, false);
    KillPoint("compacted");
  }
  assert(kCapacity - End() >= kReadBytes);
  if (expected == 0) {
    if (clean_ > End()) Zero(End(), clean_);
    clean_ = End();
  } else {
    Zero(End() + expected - std::min(kMark, expected), End() + expected);
  }
  header_->expected.store(expected, std::memory_order_release);
  SetRange(Begin(), End(), true);
  return data_ + End();
}

void Spool::Filled(size_t count) {
  SetRange(Begin(), End() + count, false);
  clean_ = std::max(clean_, End());
}

void Spool::Append(std::string_view bytes) {
  assert(kCapacity - End() >= bytes.size());
  bytes.copy(data_ + End(), bytes.size());
  SetRange(Begin(), End() + bytes.size(), false);
  clean_ = std::max(clean_, End());
}

void Spool::SetSegment(const std::string& path, uint64_t device, uint64_t inode) {
  header_->intent_length.store(0);
  std::memset(header_->segment, 0, sizeof header_->segment);
  path.copy(header_->segment, sizeof header_->segment - 1);
  header_->segment_device = device;
  header_->segment_inode = inode;
}

bool Spool::HasSegment(uint64_t device, uint64_t inode) const {
  return header_->segment_device == device && header_->segment_inode == inode;
}

void Spool::Announce(std::string_view bytes, uint64_t size) {
  DoneUpTo(bytes.data());
  header_->intent_from.store(Begin(), std::memory_order_release);
  header_->intent_size.store(size, std::memory_order_release);
  header_->intent_length.store(bytes.size(), std::memory_order_release);
}

void Spool::DoneUpTo(const char* end) {
  assert(end >= data_ + Begin() && end <= data_ + End());
  SetRange(static_cast<size_t>(end - data_), End(),
           false);  // an announcement counts only from `begin` on: this ends it
  header_->intent_length.store(0, std::memory_order_release);
}

std::optional<Intent> Spool::Announced() const {
  const uint64_t length = header_->intent_length.load();
  if (length == 0 || header_->intent_from.load() != Begin() || length > End() - Begin()) return std::nullopt;
  Intent out;
  out.path = header_->segment;
  out.device = header_->segment_device;
  out.inode = header_->segment_inode;
  out.size = header_->intent_size.load();
  out.bytes = Waiting().substr(0, length);
  return out;
}

int64_t Spool::OrphanedAt() const {
  return header_->orphaned_at.load();
}

void Spool::SetOrphanedAt(int64_t when) {
  header_->orphaned_at.store(when);
}

}  // namespace rotatelogs
