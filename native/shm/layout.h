// Offsets and constants of the shared-memory segment: docs/shm-layout.md in code. Included by the segment, the
// ring and their tests; nothing else may know where a field lies.
#pragma once

#include <cstddef>
#include <cstdint>

#include "native/base/limits.h"

namespace ringside::shm {

inline constexpr uint32_t kMagic = 0x4D485352;  // "RSHM"
inline constexpr uint32_t kLayoutVersion = 1;

inline constexpr size_t kPageBytes = 4096;
inline constexpr size_t kSegmentHeaderBytes = kPageBytes;
inline constexpr size_t kControlPageBytes = kPageBytes;
inline constexpr size_t kRings = 2;
inline constexpr int kAppToAgent = 0;
inline constexpr int kAgentToApp = 1;

inline constexpr size_t kHeaderMagicAt = 0;
inline constexpr size_t kHeaderVersionAt = 4;
inline constexpr size_t kHeaderRingBytesAt = 8;
inline constexpr size_t kHeaderZeroAt = 12;
inline constexpr size_t kHeaderSegmentBytesAt = 16;
inline constexpr size_t kHeaderUsedBytes = 24;

inline constexpr size_t kHeadAt = 0;
inline constexpr size_t kTailAt = 128;
inline constexpr size_t kConsumerWaitingAt = 256;
inline constexpr size_t kSpaceWantedAt = 384;

inline constexpr uint32_t kRecordHeaderBytes = 8;
inline constexpr uint32_t kRecordAlignment = 8;
inline constexpr uint32_t kKindFrame = 1;
inline constexpr uint32_t kKindPad = 2;

inline constexpr size_t control_offset(int ring) {
  return kSegmentHeaderBytes + static_cast<size_t>(ring) * kControlPageBytes;
}
inline constexpr size_t data_offset(int ring, uint32_t ring_bytes) {
  return kSegmentHeaderBytes + kRings * kControlPageBytes + static_cast<size_t>(ring) * ring_bytes;
}
inline constexpr uint64_t segment_bytes(uint32_t ring_bytes) {
  return kSegmentHeaderBytes + kRings * kControlPageBytes + kRings * uint64_t{ring_bytes};
}

/// A capacity that both sides accept: a power of two within the limits.
inline constexpr bool is_valid_ring_bytes(uint32_t ring_bytes) {
  return ring_bytes >= kMinRingBytes && ring_bytes <= kMaxRingBytes && (ring_bytes & (ring_bytes - 1)) == 0;
}

/// Bytes that a record with this payload takes, its header and alignment included.
inline constexpr uint64_t record_bytes(uint64_t payload_bytes) {
  return (kRecordHeaderBytes + payload_bytes + kRecordAlignment - 1) & ~uint64_t{kRecordAlignment - 1};
}

/// The largest payload a ring takes: with its header a record fills at most half the ring, because a larger one
/// could find the rest and the beginning both too short even in an empty ring.
inline constexpr uint32_t max_payload_bytes(uint32_t ring_bytes) {
  return ring_bytes / 2 - kRecordHeaderBytes;
}

static_assert(record_bytes(kMaxFrameBytes) <= kMinRingBytes / 2, "every frame must fit the smallest ring");

}  // namespace ringside::shm
