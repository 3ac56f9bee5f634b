// A segment is complete when it exists, and what was received is mapped only after it proved to be one.
#include "native/shm/segment.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <functional>
#include <string>

#include "native/base/bytes.h"
#include "native/shm/layout.h"
#include "native/test/fd/open_fds.h"

namespace ringside {
namespace {

constexpr uint32_t kRing = kMinRingBytes;
constexpr int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Segment must_create(uint32_t ring_bytes) {
  Result<Segment> made = Segment::create(ring_bytes);
  EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().text);
  return made.take();
}

// A memfd as a hostile agent might send it: right in all but what the test changes.
struct Forgery {
  off_t bytes = static_cast<off_t>(shm::segment_bytes(kRing));
  int seals = kAllSeals;
  uint8_t header[shm::kHeaderUsedBytes] = {};

  Forgery() {
    store_u32(header + shm::kHeaderMagicAt, shm::kMagic);
    store_u32(header + shm::kHeaderVersionAt, shm::kLayoutVersion);
    store_u32(header + shm::kHeaderRingBytesAt, kRing);
    store_u64(header + shm::kHeaderSegmentBytesAt, shm::segment_bytes(kRing));
  }
  UniqueFd make() const {
    UniqueFd fd(::memfd_create("forgery", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(::ftruncate(fd.get(), bytes), 0);
    EXPECT_EQ(::pwrite(fd.get(), header, sizeof header, 0), static_cast<ssize_t>(sizeof header));
    EXPECT_EQ(::fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
  }
  std::string refusal() const {
    Result<Segment> opened = Segment::open(make(), kRing);
    return opened.ok() ? "accepted" : opened.error().text;
  }
};

TEST(Segment, IsSealedSizedZeroedAndDescribed) {
  const Segment segment = must_create(kRing);
  EXPECT_EQ(::fcntl(segment.fd(), F_GET_SEALS) & kAllSeals, kAllSeals);
  EXPECT_TRUE(::fcntl(segment.fd(), F_GETFD) & FD_CLOEXEC);
  struct stat info {};
  ASSERT_EQ(::fstat(segment.fd(), &info), 0);
  EXPECT_EQ(static_cast<uint64_t>(info.st_size), shm::segment_bytes(kRing));
  EXPECT_EQ(static_cast<uint64_t>(info.st_blocks) * 512, shm::segment_bytes(kRing)) << "all pages are there";
  for (int ring = 0; ring < 2; ++ring) {
    for (size_t i = 0; i < shm::kControlPageBytes; ++i) ASSERT_EQ(segment.control(ring)[i], 0);
  }
  EXPECT_EQ(segment.data(1) - segment.data(0), static_cast<ptrdiff_t>(kRing));
  EXPECT_EQ(segment.control(1) - segment.control(0), 4096);
  EXPECT_EQ(segment.data(0) - segment.control(0), 8192);
}

TEST(Segment, CannotBeResizedByWhoeverHoldsIt) {
  const Segment segment = must_create(kRing);
  EXPECT_NE(::ftruncate(segment.fd(), 0), 0);
  EXPECT_NE(::ftruncate(segment.fd(), static_cast<off_t>(shm::segment_bytes(kRing) * 2)), 0);
  EXPECT_NE(::fcntl(segment.fd(), F_ADD_SEALS, F_SEAL_WRITE), 0);
}

TEST(Segment, TwoMappingsShareTheRings) {
  const Segment agent = must_create(2 * kRing);
  Result<Segment> app = Segment::open(UniqueFd(::dup(agent.fd())), 2 * kRing);
  ASSERT_TRUE(app.ok()) << app.error().text;
  EXPECT_EQ(app.value().ring_bytes(), 2 * kRing);
  agent.data(shm::kAgentToApp)[2 * kRing - 1] = 0x5a;
  app.value().control(shm::kAppToAgent)[0] = 0x77;
  EXPECT_EQ(app.value().data(shm::kAgentToApp)[2 * kRing - 1], 0x5a);
  EXPECT_EQ(agent.control(shm::kAppToAgent)[0], 0x77);
}

TEST(Segment, MovesWithoutMovingTheMemory) {
  Segment a = must_create(kRing);
  uint8_t* const where = a.data(0);
  Segment b(std::move(a));
  EXPECT_FALSE(a.valid());  // NOLINT(bugprone-use-after-move): the moved-from state is what is tested
  EXPECT_EQ(b.data(0), where);
  Segment c = must_create(kRing);
  c = std::move(b);
  EXPECT_EQ(c.data(0), where);
  c.data(0)[0] = 1;
}

TEST(Segment, OnlyValidCapacities) {
  const size_t before = testing::open_fds();
  for (const uint32_t bytes : {0u, 1u, kMinRingBytes / 2, kMinRingBytes + 1, kMinRingBytes * 3, kMaxRingBytes * 2, ~0u}) {
    EXPECT_FALSE(Segment::create(bytes).ok()) << bytes;
    EXPECT_FALSE(Segment::open(Forgery().make(), bytes).ok()) << bytes;
  }
  EXPECT_EQ(testing::open_fds(), before);
}

TEST(Segment, NoDescriptorIsAnErrorAndNoCrash) {
  rlimit old{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &old), 0);
  const rlimit none{0, old.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  Result<Segment> made = Segment::create(kRing);
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &old), 0);
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(made.error().code, Code::kResourceExhausted);
}

TEST(Segment, AForgeryThatIsRightIsAccepted) { EXPECT_EQ(Forgery().refusal(), "accepted"); }

TEST(Segment, EveryForgeryIsRefusedForItsReason) {
  const auto forged = [](const std::function<void(Forgery&)>& change) {
    Forgery forgery;
    change(forgery);
    return forgery.refusal();
  };
  const size_t before = testing::open_fds();
  for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_SEAL}) {
    EXPECT_EQ(forged([&](Forgery& f) { f.seals = kAllSeals & ~missing; }), "the segment is not sealed") << missing;
  }
  EXPECT_EQ(forged([](Forgery& f) { f.bytes -= 1; }), "the segment has the wrong size");
  EXPECT_EQ(forged([](Forgery& f) { f.bytes += 4096; }), "the segment has the wrong size");
  EXPECT_EQ(forged([](Forgery& f) { f.bytes = 24; }), "the segment has the wrong size");
  EXPECT_EQ(forged([](Forgery& f) { f.header[0] ^= 1; }), "the segment has the wrong magic");
  EXPECT_EQ(forged([](Forgery& f) { f.header[4] = 2; }), "the segment has an unknown layout version");
  EXPECT_EQ(forged([](Forgery& f) { f.header[10] ^= 8; }), "the segment's header does not fit its size");
  EXPECT_EQ(forged([](Forgery& f) { f.header[12] = 1; }), "the segment's header does not fit its size");
  EXPECT_EQ(forged([](Forgery& f) { f.header[23] = 1; }), "the segment's header does not fit its size");
  EXPECT_NE(forged([](Forgery& f) { f.seals |= F_SEAL_WRITE; }), "accepted");
  EXPECT_EQ(testing::open_fds(), before);
}

TEST(Segment, WhatIsNoMemfdIsRefused) {
  for (const char* path : {"/dev/null", "/dev/zero", "/proc/self/exe"}) {
    Result<Segment> opened = Segment::open(UniqueFd(::open(path, O_RDONLY | O_CLOEXEC)), kRing);
    ASSERT_FALSE(opened.ok()) << path;
    EXPECT_EQ(opened.error().text, "the segment's descriptor is no memfd") << path;
  }
  EXPECT_FALSE(Segment::open(UniqueFd(), kRing).ok());
}

TEST(Segment, PunchOutGivesThePagesBackAndTheMappingLives) {
  Segment segment = must_create(kRing);
  segment.data(0)[100] = 1;
  segment.punch_out();
  struct stat info {};
  ASSERT_EQ(::fstat(segment.fd(), &info), 0);
  EXPECT_EQ(info.st_blocks, 0);
  EXPECT_EQ(segment.data(0)[100], 0);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(Segment, AForkedChildHasNoMapping) {
  const Segment segment = must_create(kRing);
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGSEGV, SIG_DFL);
    const volatile uint8_t byte = segment.data(0)[0];
    ::_exit(byte);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child could read the segment";
}
#endif

}  // namespace
}  // namespace ringside
