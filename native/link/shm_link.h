// The agent's end of a shared-memory link to one app (docs/shm-layout.md). Records come in through ring 0 and leave through ring 1;
// the unix socket the handshake ran over stays open as the notice of the app's death.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "native/fd/unique_fd.h"
#include "native/link/link.h"
#include "native/link/out_queue.h"
#include "native/link/turn_arena.h"
#include "native/shm/doorbell.h"
#include "native/shm/ring.h"
#include "native/shm/segment.h"

namespace ringside {

class ShmLink final : public Link {
 public:
  ShmLink(UniqueFd socket, Segment segment, AgentDoorbells doorbells, TurnArena* arena, uint64_t max_outbound_bytes);
  ~ShmLink() override;

  ReadResult read(FrameSink* sink, size_t budget_bytes) override;
  bool append(const Frame& frame, bool must_take) override;
  bool flush() override;
  bool end_turn() override;
  bool on_writable() override { return flush(); }
  // The app copies a record out and releases it before it acts on it: what its tail has not passed has not run.
  bool never_sent(uint64_t end_position) override { return end_position > out_.consumer_position(); }
  // For a queued frame a lower bound of where its record will end (pads may come in between), which keeps never_sent() safe.
  uint64_t end_position() const override { return out_.position() + queued_record_bytes_; }
  uint64_t queue_left() const override { return queue_left_; }
  const uint8_t* queued_frame(uint64_t, size_t) const override { return nullptr; }
  size_t outbound_bytes() const override { return queue_.size(); }
  int socket_fd() const override { return socket_.get(); }
  int doorbell_fd() const override { return doorbells_.eventfd.get(); }

  // For a handoff, between two turns.
  int segment_fd() const { return segment_.fd(); }
  int pipe_fd() const { return doorbells_.pipe_write.get(); }
  /// Gives up its memory, for a link that is about to be destroyed.
  Segment release_segment() { return std::move(segment_); }
  uint32_t segment_ring_bytes() const { return segment_.ring_bytes(); }
  uint64_t in_position() const { return in_.position(); }
  uint64_t out_position() const { return out_.position(); }
  const OutQueue& queue() const { return queue_; }
  /// Continues rings that were handed over at those positions, with the whole frames that found no room. False: the app's own
  /// position makes no sense, or the queue is not made of frames.
  bool restore(uint64_t in_position, uint64_t out_position, std::string_view queue);

 private:
  bool put(const uint8_t* head, size_t head_bytes, const uint8_t* body, size_t body_bytes);
  void refill();

  UniqueFd socket_;
  Segment segment_;
  AgentDoorbells doorbells_;
  TurnArena* arena_;
  uint64_t max_outbound_bytes_;
  RingConsumer in_;
  RingProducer out_;
  OutQueue queue_;  // whole frames that found no room in the ring
  uint64_t queued_record_bytes_ = 0;
  uint64_t queue_left_ = 0;
  bool read_something_ = false;
  bool ring_due_ = false;
};

}  // namespace ringside
