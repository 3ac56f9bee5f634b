// A descriptor has one owner at any time and is closed exactly once.
#include "native/fd/unique_fd.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <utility>

namespace ringside {
namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }
int open_null() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

TEST(UniqueFd, ClosesAtTheEndOfItsScope) {
  const int raw = open_null();
  { const UniqueFd fd(raw); }
  EXPECT_FALSE(is_open(raw));
}

TEST(UniqueFd, MoveLeavesNothingBehind) {
  UniqueFd a(open_null());
  const int raw = a.get();
  UniqueFd b(std::move(a));
  EXPECT_FALSE(a.valid());  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
  EXPECT_EQ(b.get(), raw);
  EXPECT_TRUE(is_open(raw));
}

TEST(UniqueFd, MoveAssignmentClosesTheOldOne) {
  UniqueFd a(open_null());
  UniqueFd b(open_null());
  const int old = b.get();
  const int kept = a.get();
  b = std::move(a);
  EXPECT_FALSE(is_open(old));
  EXPECT_EQ(b.get(), kept);
}

TEST(UniqueFd, MoveAssignmentToItselfKeepsIt) {
  UniqueFd a(open_null());
  UniqueFd& alias = a;
  a = std::move(alias);
  EXPECT_TRUE(is_open(a.get()));
}

TEST(UniqueFd, ReleaseGivesItAway) {
  UniqueFd a(open_null());
  const UniqueFd b(a.release());
  EXPECT_FALSE(a.valid());
  EXPECT_TRUE(is_open(b.get()));
}

TEST(UniqueFd, ResetToTheSameNumberKeepsIt) {
  UniqueFd a(open_null());
  a.reset(a.get());
  EXPECT_TRUE(is_open(a.get()));
}

}  // namespace
}  // namespace ringside
