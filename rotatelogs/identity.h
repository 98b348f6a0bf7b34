#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace rotatelogs {

/// What a file is, whatever it is called: file system, inode and birth time (modification time and size where the file
/// system knows no birth), digested. A renamed segment keeps it, a reused inode does not inherit it.
struct FileId {
  uint64_t high = 0;
  uint64_t low = 0;
  bool operator==(const FileId&) const = default;
  std::string Hex() const;                                   ///< 32 digits, as the ledger has it
  static std::optional<FileId> Parse(std::string_view hex);  ///< nullopt: not 32 lower-case digits
};

struct FileIdHash {
  size_t operator()(const FileId& id) const { return id.low; }  // bits of a digest: as good as any hash
};

/// Hex() of an open file; empty when it cannot be looked at.
std::string IdentityOf(int fd);

/// Hex() of what `path` names now (a symbolic link is not followed); empty: nothing, or not a regular file.
std::string IdentityAt(const std::string& path);

struct IdentityDigest;

/// Tells the identity of many files with one statx(2) each: the volume is asked once per device and the digest's
/// context is kept. One thread.
class Identifier {
 public:
  Identifier();
  ~Identifier();

  /// @param path  not opened; a symbolic link is not followed
  /// @param status  set when there is something at `path`
  /// @return nullopt  nothing there, or not a regular file
  std::optional<FileId> Look(const char* path, struct statx& status);

 private:
  std::unique_ptr<IdentityDigest> digest_;
  std::map<uint64_t, uint64_t> volumes_;  // by device
};

}  // namespace rotatelogs
