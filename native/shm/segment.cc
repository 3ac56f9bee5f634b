// See segment.h.
#include "native/shm/segment.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "native/base/bytes.h"
#include "native/base/errno_text.h"
#include "native/shm/layout.h"

// Since Linux 6.3; older headers lack it and older kernels refuse it.
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

namespace ringside {
namespace {

constexpr int kRequiredSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Error failure(Code code, const char* what) { return Error{code, std::string(what) + ": " + errno_text(errno)}; }
Error invalid(std::string text) { return Error{Code::kInvalidArgument, std::move(text)}; }

UniqueFd make_memfd() {
  UniqueFd fd(::memfd_create("ringside-link", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
  if (!fd.valid() && errno == EINVAL) fd.reset(::memfd_create("ringside-link", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  return fd;
}

// Takes every page now, so that lack of memory is an error here and not a signal at the first touch.
bool allocate_pages(int fd, uint64_t bytes) {
  int rc;
  do {
    rc = ::fallocate(fd, 0, 0, static_cast<off_t>(bytes));
  } while (rc != 0 && errno == EINTR);
  return rc == 0;
}

}  // namespace

Segment::Segment(UniqueFd fd, uint8_t* base, uint32_t ring_bytes)
    : fd_(std::move(fd)), base_(base), ring_bytes_(ring_bytes) {}

Segment::Segment(Segment&& other) noexcept
    : fd_(std::move(other.fd_)),
      base_(std::exchange(other.base_, nullptr)),
      ring_bytes_(std::exchange(other.ring_bytes_, 0)) {}

Segment& Segment::operator=(Segment&& other) noexcept {
  if (this != &other) {
    unmap();
    fd_ = std::move(other.fd_);
    base_ = std::exchange(other.base_, nullptr);
    ring_bytes_ = std::exchange(other.ring_bytes_, 0);
  }
  return *this;
}

Segment::~Segment() { unmap(); }

void Segment::unmap() {
  if (base_ != nullptr) ::munmap(base_, shm::segment_bytes(ring_bytes_));
  base_ = nullptr;
}

Result<Segment> Segment::map(UniqueFd fd, uint32_t ring_bytes) {
  const size_t bytes = shm::segment_bytes(ring_bytes);
  void* base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd.get(), 0);
  if (base == MAP_FAILED) return failure(Code::kResourceExhausted, "cannot map the segment");
  // A forked child must not keep a copy of the mapping: it would hold the memory after both ends closed the link.
  ::madvise(base, bytes, MADV_DONTFORK);
  return Segment(std::move(fd), static_cast<uint8_t*>(base), ring_bytes);
}

Result<Segment> Segment::create(uint32_t ring_bytes) {
  if (!shm::is_valid_ring_bytes(ring_bytes)) return invalid("ring capacity is no power of two within the limits");
  const uint64_t bytes = shm::segment_bytes(ring_bytes);
  UniqueFd fd = make_memfd();
  if (!fd.valid()) return failure(Code::kResourceExhausted, "cannot make a memfd");
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0 || !allocate_pages(fd.get(), bytes)) {
    return failure(Code::kResourceExhausted, "no memory for the segment");
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kRequiredSeals) != 0) {
    return failure(Code::kInternal, "cannot seal the segment");
  }
  Result<Segment> segment = map(std::move(fd), ring_bytes);
  if (!segment) return segment;
  uint8_t* header = segment.value().base_;
  store_u32(header + shm::kHeaderMagicAt, shm::kMagic);
  store_u32(header + shm::kHeaderVersionAt, shm::kLayoutVersion);
  store_u32(header + shm::kHeaderRingBytesAt, ring_bytes);
  store_u32(header + shm::kHeaderZeroAt, 0);
  store_u64(header + shm::kHeaderSegmentBytesAt, bytes);
  return segment;
}

Result<Segment> Segment::open(UniqueFd memfd, uint32_t expected_ring_bytes) {
  if (!shm::is_valid_ring_bytes(expected_ring_bytes)) {
    return invalid("ring capacity is no power of two within the limits");
  }
  const uint64_t bytes = shm::segment_bytes(expected_ring_bytes);
  // Seals before size: once they are there, the size just read cannot change any more.
  const int seals = ::fcntl(memfd.get(), F_GET_SEALS);
  if (seals < 0) return invalid("the segment's descriptor is no memfd");
  if ((seals & kRequiredSeals) != kRequiredSeals) return invalid("the segment is not sealed");
  struct stat info {};
  if (::fstat(memfd.get(), &info) != 0) return failure(Code::kInternal, "cannot stat the segment");
  if (info.st_size < 0 || static_cast<uint64_t>(info.st_size) != bytes) return invalid("the segment has the wrong size");

  uint8_t header[shm::kHeaderUsedBytes];
  if (::pread(memfd.get(), header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
    return invalid("the segment's header cannot be read");
  }
  if (load_u32(header + shm::kHeaderMagicAt) != shm::kMagic) return invalid("the segment has the wrong magic");
  if (load_u32(header + shm::kHeaderVersionAt) != shm::kLayoutVersion) {
    return invalid("the segment has an unknown layout version");
  }
  if (load_u32(header + shm::kHeaderRingBytesAt) != expected_ring_bytes ||
      load_u32(header + shm::kHeaderZeroAt) != 0 || load_u64(header + shm::kHeaderSegmentBytesAt) != bytes) {
    return invalid("the segment's header does not fit its size");
  }
  return map(std::move(memfd), expected_ring_bytes);
}

uint8_t* Segment::control(int ring) const { return base_ + shm::control_offset(ring); }
uint8_t* Segment::data(int ring) const { return base_ + shm::data_offset(ring, ring_bytes_); }

void Segment::punch_out() {
  if (!fd_.valid()) return;
  int rc;
  do {
    rc = ::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
                     static_cast<off_t>(shm::segment_bytes(ring_bytes_)));
  } while (rc != 0 && errno == EINTR);
}

}  // namespace ringside
