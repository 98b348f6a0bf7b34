#pragma once

#include <nghttp2/nghttp2.h>

#include <array>
#include <cstddef>

namespace httpd::net {

/// Memory of nghttp2's sessions: it takes and gives back half a dozen small pieces for each request. Those are kept
/// here, up to 256 KiB of them, for the next one.
///
/// Ownership  of the pieces that are spare; what is in use must be given back before the object goes
/// Threads    one owner
/// Source     nghttp2_mem(3)
class Http2Memory {
 public:
  Http2Memory();
  ~Http2Memory();
  Http2Memory(const Http2Memory&) = delete;
  Http2Memory& operator=(const Http2Memory&) = delete;

  /// For nghttp2_session_server_new3(3); valid as long as this object.
  nghttp2_mem* allocator() { return &allocator_; }
  /// Bytes that are kept for the next one who needs some.
  size_t spare_bytes() const { return spare_bytes_; }

  static constexpr size_t kMostSpareBytes = 256U << 10;

 private:
  static constexpr size_t kStep = 64;
  static constexpr size_t kSizes = 16;
  struct Piece;

  static void* Take(size_t size, void* self);
  static void* TakeZeroed(size_t count, size_t size, void* self);
  static void* Resize(void* memory, size_t size, void* self);
  static void GiveBack(void* memory, void* self);

  std::array<Piece*, kSizes> spare_{};  ///< by size in steps, less one
  size_t spare_bytes_ = 0;
  nghttp2_mem allocator_;
};

}  // namespace httpd::net
