#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "os/error.h"
#include "os/fd.h"

namespace rotatelogs {

enum class Compression { kNone, kZstd, kGzip };

/// What one pass over a file tells.
struct Content {
  std::string sha256;  ///< lower-case hexadecimal
  int64_t bytes = 0;
  int64_t lines = 0;  ///< newlines, and one more for bytes after the last
};

/// Reads `fd` from its beginning (pread: the offset stays). Blocks as reading does.
/// @param stop  here as below: when asked, the work ends within a block (256 KiB) with kBusy
os::Result<Content> ReadContent(const os::Fd& fd, const std::stop_token& stop = {});

/// ".zst" or ".gz".
std::string CompressionSuffix(Compression kind);
Compression CompressionOf(const std::string& path);  ///< from the suffix; kNone: another

/// Writes a compressed copy of `from` to `to`, an empty file open for reading and writing, and fsyncs it.
os::Status CompressTo(Compression kind, const os::Fd& from, const os::Fd& to, const std::stop_token& stop = {});

/// Expands `fd` again and digests the result: what proves a copy before its original goes.
os::Result<Content> ReadCompressed(Compression kind, const os::Fd& fd, const std::stop_token& stop = {});

}  // namespace rotatelogs
