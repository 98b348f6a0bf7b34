#include "rotatelogs/compress.h"

#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "os/digest.h"
#include "os/file.h"

namespace rotatelogs {

using os::Error;
using os::ErrorKind;
using os::kDone;
using os::Result;
using os::Status;

namespace {

constexpr size_t kBlock = size_t{256} << 10;

class Digest {
 public:
  void Add(std::string_view data) {
    if (data.empty()) return;
    sha256_.Add(data);
    bytes_ += static_cast<int64_t>(data.size());
    for (size_t at = 0; (at = data.find('\n', at)) != std::string_view::npos; ++at) ++lines_;
    last_ = data.back();
  }
  Content Finish() {
    Content out;
    out.sha256 = sha256_.Hex();
    out.bytes = bytes_;
    out.lines = lines_ + (bytes_ > 0 && last_ != '\n' ? 1 : 0);
    return out;
  }

 private:
  os::Sha256 sha256_;
  int64_t bytes_ = 0;
  int64_t lines_ = 0;
  char last_ = '\n';
};

/// Hands the file to `take` block by block, and whether the block is the last (an empty one at the end of the file).
Status ForEachBlock(const os::Fd& fd, const std::stop_token& stop,
                    const std::function<Status(std::string_view, bool)>& take) {
  std::vector<char> buffer(kBlock);
  off_t at = 0;
  for (;;) {
    if (stop.stop_requested()) return Error{ErrorKind::kBusy, 0, "interrupted"};
    const ssize_t n = ::pread(fd.get(), buffer.data(), buffer.size(), at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int sys = errno;
      return os::SysError(sys, "read the segment");
    }
    at += n;
    if (auto taken = take({buffer.data(), static_cast<size_t>(n)}, n == 0); !taken) return taken;
    if (n == 0) return kDone;
  }
}

Error Broken(const char* what) {
  return Error{ErrorKind::kIo, 0, what};
}

Status Deflate(const os::Fd& from, const os::Fd& to, const std::stop_token& stop) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
    return Broken("start gzip");
  }
  std::unique_ptr<z_stream, decltype(&deflateEnd)> owner(&stream, deflateEnd);
  std::vector<char> out(kBlock);
  return ForEachBlock(from, stop, [&](std::string_view block, bool last) -> Status {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
    stream.avail_in = static_cast<uInt>(block.size());
    do {
      stream.next_out = reinterpret_cast<Bytef*>(out.data());
      stream.avail_out = static_cast<uInt>(out.size());
      if (deflate(&stream, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_ERROR) return Broken("gzip the segment");
      if (auto written = os::WriteAll(to, {out.data(), out.size() - stream.avail_out}); !written) return written;
    } while (stream.avail_out == 0);
    return kDone;
  });
}

Status Zstd(const os::Fd& from, const os::Fd& to, const std::stop_token& stop) {
  std::unique_ptr<ZSTD_CCtx, decltype(&ZSTD_freeCCtx)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (!context) return Broken("start zstd");
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_checksumFlag, 1);
  std::vector<char> out(kBlock);
  return ForEachBlock(from, stop, [&](std::string_view block, bool last) -> Status {
    ZSTD_inBuffer in{block.data(), block.size(), 0};
    for (;;) {
      ZSTD_outBuffer target{out.data(), out.size(), 0};
      const size_t left = ZSTD_compressStream2(context.get(), &target, &in, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left)) return Broken("compress the segment with zstd");
      if (auto written = os::WriteAll(to, {out.data(), target.pos}); !written) return written;
      if (last ? left == 0 : in.pos == in.size) return kDone;
    }
  });
}

}  // namespace

Result<Content> ReadContent(const os::Fd& fd, const std::stop_token& stop) {
  Digest digest;
  auto read = ForEachBlock(fd, stop, [&](std::string_view block, bool) -> Status {
    digest.Add(block);
    return kDone;
  });
  if (!read) return read.error();
  return digest.Finish();
}

std::string CompressionSuffix(Compression kind) {
  return kind == Compression::kZstd ? ".zst" : ".gz";
}

Compression CompressionOf(const std::string& path) {
  if (path.ends_with(".zst")) return Compression::kZstd;
  return path.ends_with(".gz") ? Compression::kGzip : Compression::kNone;
}

Status CompressTo(Compression kind, const os::Fd& from, const os::Fd& to, const std::stop_token& stop) {
  auto done = kind == Compression::kZstd ? Zstd(from, to, stop) : Deflate(from, to, stop);
  if (!done) return done;
  if (::fsync(to.get()) != 0) {
    const int sys = errno;
    return os::SysError(sys, "write the compressed copy");
  }
  return kDone;
}

Result<Content> ReadCompressed(Compression kind, const os::Fd& fd, const std::stop_token& stop) {
  Digest digest;
  std::vector<char> out(kBlock);
  bool ended = false;
  Status read = kDone;
  if (kind == Compression::kZstd) {
    std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
    if (!context) return Broken("start zstd");
    read = ForEachBlock(fd, stop, [&](std::string_view block, bool) -> Status {
      ZSTD_inBuffer in{block.data(), block.size(), 0};
      while (in.pos < in.size) {
        ZSTD_outBuffer target{out.data(), out.size(), 0};
        const size_t left = ZSTD_decompressStream(context.get(), &target, &in);
        if (ZSTD_isError(left)) return Broken("the compressed copy is damaged");
        ended = left == 0;
        digest.Add({out.data(), target.pos});
      }
      return kDone;
    });
  } else {
    z_stream stream{};
    if (inflateInit2(&stream, 15 + 16) != Z_OK) return Broken("start gzip");
    std::unique_ptr<z_stream, decltype(&inflateEnd)> owner(&stream, inflateEnd);
    read = ForEachBlock(fd, stop, [&](std::string_view block, bool) -> Status {
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
      stream.avail_in = static_cast<uInt>(block.size());
      while (stream.avail_in > 0 && !ended) {
        stream.next_out = reinterpret_cast<Bytef*>(out.data());
        stream.avail_out = static_cast<uInt>(out.size());
        const int status = inflate(&stream, Z_NO_FLUSH);
        if (status != Z_OK && status != Z_STREAM_END) return Broken("the compressed copy is damaged");
        ended = status == Z_STREAM_END;
        digest.Add({out.data(), out.size() - stream.avail_out});
      }
      return kDone;
    });
  }
  if (!read) return read.error();
  if (!ended) return Broken("the compressed copy is cut short");
  return digest.Finish();
}

}  // namespace rotatelogs
