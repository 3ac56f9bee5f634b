// Bounds that both sides of a link must share, because they are part of the wire format or of the
// shared-memory layout (docs/wire-format.md, docs/shm-layout.md). Bounds an operator may set live in the
// engine's options instead.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ringside {

inline constexpr size_t kFixedBytes = 32;
inline constexpr size_t kMaxHeaderBytes = 16 * 1024;
inline constexpr size_t kMaxFrameBodyBytes = 64 * 1024;
inline constexpr size_t kMaxFrameBytes = kFixedBytes + kMaxHeaderBytes + kMaxFrameBodyBytes;
/// What the sender of a streamed body may have sent without credit.
inline constexpr uint32_t kStreamWindowBytes = 256 * 1024;
/// What a stream may keep waiting for a link: its window in so many pieces, of a kilobyte each.
inline constexpr uint32_t kCoveredChunks = 256;
inline constexpr uint64_t kMaxQueuedStreamBytes = kStreamWindowBytes + kCoveredChunks * kFixedBytes;
inline constexpr size_t kMaxNameBytes = 256;
inline constexpr size_t kMaxAttachments = 64;

inline constexpr uint32_t kMinRingBytes = 256 * 1024;
inline constexpr uint32_t kMaxRingBytes = 64 * 1024 * 1024;

}  // namespace ringside
