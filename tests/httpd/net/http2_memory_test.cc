#include "httpd/net/http2_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace httpd::net {
namespace {

class Memory : public testing::Test {
 protected:
  void* Take(size_t size) { return of_.malloc(size, of_.mem_user_data); }
  void GiveBack(void* memory) { of_.free(memory, of_.mem_user_data); }

  Http2Memory memory_;
  nghttp2_mem& of_ = *memory_.allocator();
};

TEST_F(Memory, WhatWasGivenBackIsTakenAgain) {
  void* first = Take(100);
  GiveBack(first);
  EXPECT_GT(memory_.spare_bytes(), 100U);
  EXPECT_EQ(Take(110), first) << "of the same size, about";
  EXPECT_EQ(memory_.spare_bytes(), 0U);
  GiveBack(first);
}

TEST_F(Memory, KeepsAQuarterOfAMegabyteAndNoLargePieces) {
  std::vector<void*> pieces(2000);
  for (void*& piece : pieces) piece = Take(500);
  for (void* piece : pieces) GiveBack(piece);
  EXPECT_LE(memory_.spare_bytes(), Http2Memory::kMostSpareBytes);
  EXPECT_GT(memory_.spare_bytes(), Http2Memory::kMostSpareBytes / 2);
  const size_t before = memory_.spare_bytes();
  GiveBack(Take(100000));
  EXPECT_EQ(memory_.spare_bytes(), before);
}

TEST_F(Memory, IsZeroedWhereThatIsAskedForAndOverflowsAreRefused) {
  void* used = Take(64);
  std::memset(used, 'x', 64);
  GiveBack(used);
  auto* zeroed = static_cast<char*>(of_.calloc(8, 8, of_.mem_user_data));
  EXPECT_EQ(std::string(zeroed, 64), std::string(64, '\0'));
  GiveBack(zeroed);
  EXPECT_EQ(of_.calloc(SIZE_MAX / 2, 3, of_.mem_user_data), nullptr);
  EXPECT_EQ(Take(SIZE_MAX - 8), nullptr);
  GiveBack(nullptr);
}

TEST_F(Memory, GrowsWithItsContent) {
  auto* text = static_cast<char*>(of_.realloc(nullptr, 40, of_.mem_user_data));
  std::memset(text, 'a', 40);
  text = static_cast<char*>(of_.realloc(text, 4000, of_.mem_user_data));
  EXPECT_EQ(std::string(text, 40), std::string(40, 'a'));
  GiveBack(text);
}

}  // namespace
}  // namespace httpd::net
