#pragma once

#include <cstdint>
#include <string>

#include "os/error.h"
#include "os/fd.h"
#include "rotatelogs/processor.h"

namespace rotatelogs {

/// What one pass over a file tells.
struct Content {
  std::string sha256;  ///< lower-case hexadecimal
  int64_t bytes = 0;
  int64_t lines = 0;  ///< newlines, and one more for bytes after the last
};

/// Reads `fd` from its beginning (pread: the offset stays). Blocks as reading does.
os::Result<Content> ReadContent(const os::Fd& fd);

/// ".zst" or ".gz".
std::string CompressionSuffix(Compression kind);

/// Writes a compressed copy of `from` to `to`, an empty file open for reading and writing, and fsyncs it.
os::Status CompressTo(Compression kind, const os::Fd& from, const os::Fd& to);

/// Expands `fd` again and digests the result: what proves a copy before its original goes.
os::Result<Content> ReadCompressed(Compression kind, const os::Fd& fd);

}  // namespace rotatelogs
