#include "os/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <memory>

namespace os {
namespace {

TEST(Error, TextNamesTheActionAndTheSystemsReason) {
  EXPECT_EQ(SysError(ENOENT, "open /x").Text(), "open /x: No such file or directory");
}

TEST(Error, TextIsTheBareSentenceWhenTheKernelWasNotAsked) {
  EXPECT_EQ((Error{ErrorKind::kInvalid, 0, "port 70000 is too large"}).Text(), "port 70000 is too large");
}

TEST(Error, EveryErrnoOfTheTableHasItsKind) {
  const std::pair<int, ErrorKind> kTable[] = {
      {ENOENT, ErrorKind::kNotFound},      {ENOTDIR, ErrorKind::kNotFound},
      {ESRCH, ErrorKind::kNotFound},       {EACCES, ErrorKind::kDenied},
      {EPERM, ErrorKind::kDenied},         {EROFS, ErrorKind::kDenied},
      {EAGAIN, ErrorKind::kBusy},          {EBUSY, ErrorKind::kBusy},
      {EADDRINUSE, ErrorKind::kBusy},      {ETXTBSY, ErrorKind::kBusy},
      {ETIMEDOUT, ErrorKind::kTimeout},    {EINVAL, ErrorKind::kInvalid},
      {ELOOP, ErrorKind::kInvalid},        {EIO, ErrorKind::kIo},
      {ENAMETOOLONG, ErrorKind::kInvalid}, {ENOSPC, ErrorKind::kIo},
      {ECONNREFUSED, ErrorKind::kIo},
  };
  for (const auto& [sys, kind] : kTable) {
    EXPECT_EQ(SysError(sys, "x").kind, kind) << sys;
    EXPECT_EQ(SysError(sys, "x").sys, sys);
  }
}

TEST(Result, HoldsAMoveOnlyValueAndGivesItAway) {
  Result<std::unique_ptr<int>> result(std::make_unique<int>(7));
  ASSERT_TRUE(result);
  const std::unique_ptr<int> taken = std::move(result).value();
  EXPECT_EQ(*taken, 7);
}

TEST(Result, TheSideThatIsNotThereThrows) {
  Result<int> good(1);
  Result<int> bad(Error{ErrorKind::kIo, 0, "no"});
  EXPECT_THROW(static_cast<void>(good.error()), std::bad_variant_access);
  EXPECT_THROW(static_cast<void>(bad.value()), std::bad_variant_access);
  EXPECT_FALSE(bad.has_value());
}

}  // namespace
}  // namespace os
