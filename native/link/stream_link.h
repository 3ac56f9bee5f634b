// A link over a byte stream: unix or tcp, any role. Frames are parsed in place in the turn's arena; contiguous ones leave as one iovec,
// all of a turn in one write.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "native/link/channel.h"
#include "native/link/link.h"
#include "native/link/out_queue.h"
#include "native/link/turn_arena.h"

namespace ringside {

class StreamLink final : public Link {
 public:
  StreamLink(LinkKind kind, LinkRole role, std::unique_ptr<Channel> channel, TurnArena* arena,
             uint64_t max_outbound_bytes);

  ReadResult read(FrameSink* sink, size_t budget_bytes) override;
  bool append(const Frame& frame, bool must_take) override;
  bool flush() override;
  bool on_writable() override { return flush(); }
  bool never_sent(uint64_t end_position) override { return end_position > written_; }
  uint64_t end_position() const override { return appended_; }
  uint64_t queue_left() const override { return written_; }
  const uint8_t* queued_frame(uint64_t end_position, size_t frame_bytes) const override;
  size_t outbound_bytes() const override { return queue_.size() + gathered_; }
  int socket_fd() const override { return channel_->fd(); }

  bool wants_writable() const override { return !queue_.empty() && state != LinkState::kConnecting; }
  /// Gives up the socket, for a link that continues over shared memory. Nothing may be queued.
  UniqueFd release_fd() { return channel_->release_fd(); }
  /// Gives up its channel, as above.
  std::unique_ptr<Channel> release_channel() { return std::move(channel_); }
  /// Bytes of a frame not complete yet.
  size_t partial_bytes() const { return partial_.size(); }
  /// The bytes of frames that are not complete yet, and those the kernel has not taken; for a handoff, between two turns.
  const std::vector<uint8_t>& partial() const { return partial_; }
  const OutQueue& queue() const { return queue_; }
  /// Continues a link that was handed over: `appended` is its end_position().
  void restore(std::string_view partial, std::string_view queue, uint64_t appended);
  /// Gives up those bytes, for a link that continues in another protocol.
  std::vector<uint8_t> release_partial() { return std::move(partial_); }

 private:
  bool gather(const uint8_t* p, size_t n);
  bool write_gathered();
  bool write_queue();

  std::unique_ptr<Channel> channel_;
  TurnArena* arena_;
  uint64_t max_outbound_bytes_;
  std::vector<uint8_t> partial_;  // begin of a frame, kept between turns
  std::vector<iovec> parts_;      // of this turn, pointing into the arena and into rings
  size_t gathered_ = 0;
  OutQueue queue_;
  uint64_t appended_ = 0;  // bytes ever appended
  uint64_t written_ = 0;   // bytes the kernel has taken
};

}  // namespace ringside
