#include "httpd/net/http2_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace httpd::net {

/// What is before each piece of memory.
struct alignas(std::max_align_t) Http2Memory::Piece {
  Piece* next;
  size_t steps;  ///< with the Piece itself
};

Http2Memory::Http2Memory() : allocator_{this, Take, GiveBack, TakeZeroed, Resize} {}

Http2Memory::~Http2Memory() {
  for (Piece* piece : spare_) {
    while (piece) {
      Piece* const next = piece->next;
      std::free(piece);
      piece = next;
    }
  }
}

void* Http2Memory::Take(size_t size, void* self) {
  if (size > SIZE_MAX - sizeof(Piece) - kStep) return nullptr;
  const size_t steps = (size + sizeof(Piece) + kStep - 1) / kStep;
  auto* memory = static_cast<Http2Memory*>(self);
  Piece* piece = nullptr;
  if (steps <= kSizes && memory->spare_[steps - 1]) {
    piece = memory->spare_[steps - 1];
    memory->spare_[steps - 1] = piece->next;
    memory->spare_bytes_ -= steps * kStep;
    return piece + 1;
  }
  piece = static_cast<Piece*>(std::malloc(steps * kStep));
  if (!piece) return nullptr;
  piece->steps = steps;
  return piece + 1;
}

void Http2Memory::GiveBack(void* memory, void* self) {
  if (!memory) return;
  auto* from = static_cast<Http2Memory*>(self);
  Piece* const piece = static_cast<Piece*>(memory) - 1;
  const size_t steps = piece->steps;
  if (steps > kSizes || from->spare_bytes_ + steps * kStep > kMostSpareBytes) {
    std::free(piece);
    return;
  }
  piece->next = from->spare_[steps - 1];
  from->spare_[steps - 1] = piece;
  from->spare_bytes_ += steps * kStep;
}

void* Http2Memory::TakeZeroed(size_t count, size_t size, void* self) {
  if (size != 0 && count > SIZE_MAX / size) return nullptr;
  void* memory = Take(count * size, self);
  if (memory) std::memset(memory, 0, count * size);
  return memory;
}

void* Http2Memory::Resize(void* memory, size_t size, void* self) {
  if (!memory) return Take(size, self);
  Piece* const piece = static_cast<Piece*>(memory) - 1;
  const size_t before = piece->steps * kStep - sizeof(Piece);
  if (size <= before) return memory;
  void* larger = Take(size, self);
  if (!larger) return nullptr;
  std::memcpy(larger, memory, before);
  GiveBack(memory, self);
  return larger;
}

}  // namespace httpd::net
