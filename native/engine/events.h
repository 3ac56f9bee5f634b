// What the engine tells TypeScript: upcalls, links that came or went, answers to questions, records of slow and failed
// requests. The worker collects them during a turn and hands them over in one piece; the other thread takes all there is. The only
// lock is held for a swap, and never on the path of a request that has a flow.
#pragma once

#include <cstdint>
#include <mutex>
#include <string_view>
#include <vector>

#include "native/engine/byte_stream.h"

namespace ringside {

// Numbers are part of the contract with src/native/engine-events.ts.
enum class EventType : uint8_t {
  kUpcall = 1,
  kLinkUp = 2,
  kLinkDown = 3,
  kGoAwayDone = 4,
  kStats = 5,
  kIdle = 6,
  kRecord = 7,
  kListenerProblem = 8,
  kHandoffAsked = 9,
  kHandoffOffered = 10,
  kHandedOver = 11,
  kTakenOver = 12,
  kHandoffFailed = 13,
  kUpstreamProblem = 14,
};

/// Builds a batch: each event is its type, a u32 length and the payload.
class EventBatch {
 public:
  template <typename Fill>
  void add(EventType type, Fill fill) {
    out_.u8(static_cast<uint8_t>(type));
    const size_t length_at = out_.hold_u32();
    const size_t begin = out_.size();
    fill(out_);
    out_.fill_u32(length_at, static_cast<uint32_t>(out_.size() - begin));
  }
  bool empty() const { return out_.size() == 0; }
  size_t size() const { return out_.size(); }
  std::vector<uint8_t> take() { return out_.take(); }

 private:
  ByteWriter out_;
};

/// The hand-over point between the worker and the thread that runs JavaScript.
class EventMailbox {
 public:
  /// Called by the worker. True: the mailbox was empty, so the reader must be woken.
  bool put(std::vector<uint8_t> batch) {
    const std::lock_guard lock(mutex_);
    const bool was_empty = bytes_.empty();
    if (was_empty) {
      bytes_ = std::move(batch);
    } else {
      bytes_.insert(bytes_.end(), batch.begin(), batch.end());
    }
    return was_empty;
  }
  /// Called by the reader.
  std::vector<uint8_t> take() {
    const std::lock_guard lock(mutex_);
    std::vector<uint8_t> out;
    out.swap(bytes_);
    return out;
  }
  /// Bytes waiting; the worker stops producing what can wait when there are many.
  size_t waiting() {
    const std::lock_guard lock(mutex_);
    return bytes_.size();
  }

 private:
  std::mutex mutex_;
  std::vector<uint8_t> bytes_;
};

}  // namespace ringside
