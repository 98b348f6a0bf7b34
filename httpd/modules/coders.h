#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace httpd::modules {

/// Codes one stream of bytes. What it needs of memory is taken from the loop's store and goes back there when the
/// object dies, so that a loop which answers one request after the other does not allocate: make and destroy it on
/// one thread. A store keeps at most kIdleCoders of one kind and settings.
class Coder {
 public:
  enum class Flush {
    kNone,   ///< the coder may keep what it was given
    kSync,   ///< all that was given so far can be decoded by the client
    kFinish  ///< the end of the stream
  };
  virtual ~Coder() = default;

  /// Appends the coded form of `input` to `out`. @return false: the library failed, the stream is of no use any more
  virtual bool Feed(std::string_view input, Flush flush, std::string& out) = 0;
};

inline constexpr size_t kIdleCoders = 4;

/// gzip. Memory: 2^(window+2) + 2^(mem_level+9) bytes, 384 KiB at 15 and 9.
/// @param level   1-9, -1 = zlib's own (6)
/// @param window  9-15
/// @param mem_level  1-9
/// @return nullptr: no memory. Source  zlib.h deflateInit2; RFC 1952
std::unique_ptr<Coder> MakeGzipCoder(int level, int window, int mem_level);

/// Brotli. Memory: less than 8 MiB at quality 5 and window 18.
/// @param quality  0-11
/// @param window   10-24
/// @param block    16-24, 0 = the library's choice
/// @param size     bytes to come; 0 = not known
/// Source  brotli/encode.h; RFC 7932
std::unique_ptr<Coder> MakeBrotliCoder(int quality, int window, int block, uint64_t size);

/// Zstandard, with a window of at most 8 MiB, which is what every client must have. Memory: about 4 MiB at level 3,
/// less when `size` is known and small.
/// @param level   ZSTD_minCLevel()-ZSTD_maxCLevel()
/// @param window  10-23, 0 = by level
/// @param size    bytes to come; 0 = not known
/// Source  zstd.h; RFC 8878, RFC 9659
std::unique_ptr<Coder> MakeZstdCoder(int level, int window, uint64_t size);

/// What may come out of a coded body. Source  httpd 2.4 manual, mod_deflate
struct InflateLimits {
  uint64_t max_bytes = 0;  ///< DeflateInflateLimitRequestBody; 0 = no limit
  int ratio = 200;         ///< DeflateInflateRatioLimit
  int burst = 3;           ///< DeflateInflateRatioBurst
};

/// Undoes gzip, a bounded amount at a time. Several members after each other are one body (RFC 1952 2.2).
/// The ratio is looked at every 8 KiB of output: once it was at or above the limit more than `burst` times without a
/// break, it is kRatio.
class Inflater {
 public:
  enum class State {
    kNeedsInput,  ///< `input` is used up
    kFull,        ///< `most` bytes were given; call again with the rest of the input
    kBroken,      ///< not gzip, damaged, or followed by something else
    kTooLarge,    ///< more than max_bytes
    kRatio        ///< a decompression bomb
  };
  explicit Inflater(const InflateLimits& limits);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  /// Takes from the front of `input`, appends at most `most` bytes to `out`.
  State Feed(std::string_view& input, std::string& out, size_t most);

  /// The input may end here: at the end of a member, or before the first byte.
  bool may_end() const { return at_boundary_; }
  bool has_started() const { return started_; }

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
  InflateLimits limits_;
  uint64_t in_ = 0;
  uint64_t out_ = 0;
  int hits_ = 0;
  bool started_ = false;
  bool at_boundary_ = true;
};

}  // namespace httpd::modules
