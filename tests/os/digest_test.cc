#include "os/digest.h"

#include <gtest/gtest.h>

#include <string>

namespace os {
namespace {

// Source  FIPS 180-4's examples; a million times "a" is one of them
TEST(Sha256, IsThatOfTheStandard) {
  EXPECT_EQ(Sha256().Hex(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  Sha256 abc;
  abc.Add("abc");
  EXPECT_EQ(abc.Hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256, DoesNotDependOnHowTheBytesCame) {
  Sha256 pieces;
  const std::string text(1'000'000, 'a');
  for (size_t at = 0; at < text.size(); at += 999) pieces.Add(std::string_view(text).substr(at, 999));
  pieces.Add("");
  EXPECT_EQ(pieces.Hex(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

}  // namespace
}  // namespace os
