// The memory of one shared-memory link: a sealed memfd, mapped. The agent creates it, the app opens what it was
// sent. After create() or open() succeeded, all memory is there and cannot shrink under the mapping, so no access
// raises SIGBUS. Pages are charged to the cgroup of whoever touches them first: with create() that is the agent.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/base/status.h"
#include "native/fd/unique_fd.h"

namespace ringside {

/// A mapped segment. Move-only; pointers into it stay valid across a move and die with the object.
class Segment {
 public:
  Segment() = default;
  Segment(Segment&& other) noexcept;
  Segment& operator=(Segment&& other) noexcept;
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  ~Segment();

  /// Makes, fills, seals and maps a segment. RESOURCE_EXHAUSTED when there is no memory or descriptor.
  static Result<Segment> create(uint32_t ring_bytes);

  /// Checks seals, size and header of a received memfd, then maps it. INVALID_ARGUMENT says what is wrong with it.
  static Result<Segment> open(UniqueFd memfd, uint32_t expected_ring_bytes);

  bool valid() const { return base_ != nullptr; }
  int fd() const { return fd_.get(); }
  uint32_t ring_bytes() const { return ring_bytes_; }

  /// Control page and data of a ring: shm::kAppToAgent or shm::kAgentToApp.
  uint8_t* control(int ring) const;
  uint8_t* data(int ring) const;

  /// Gives all pages back to the system, because a peer that keeps the descriptor would keep them charged. For the
  /// agent, on the death of a link; not at a handoff. Both sides then read zeros.
  void punch_out();

 private:
  Segment(UniqueFd fd, uint8_t* base, uint32_t ring_bytes);
  static Result<Segment> map(UniqueFd fd, uint32_t ring_bytes);
  void unmap();

  UniqueFd fd_;
  uint8_t* base_ = nullptr;
  uint32_t ring_bytes_ = 0;
};

}  // namespace ringside
