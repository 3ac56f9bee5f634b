// What both kinds of legacy link share: a byte stream cut into messages, an outbound queue, and bodies in pieces. A legacy link speaks
// RESP and JSON to its peer and mesh frames to the engine, so nothing behind it knows of the legacy protocol. A message is whole in
// memory here; where the mesh wants a body in pieces (docs/wire-format.md, "Streamed bodies"), this is where it is cut and joined.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "native/link/channel.h"
#include "native/link/legacy_account.h"
#include "native/link/legacy_state.h"
#include "native/link/link.h"
#include "native/link/out_queue.h"
#include "native/link/turn_arena.h"

namespace ringside {

/// What a link keeps of memory that a large message needed.
inline constexpr size_t kKeptScratchBytes = 64 * 1024;

class LegacyLink : public Link {
 public:
  /// What all of its kind have in common; `account` outlives them.
  struct Bounds {
    LegacyAccount* account = nullptr;
    uint64_t max_outbound_bytes = 0;
    size_t max_message_bytes = 0;
  };

  LegacyLink(LinkKind kind, LinkRole role, std::unique_ptr<Channel> channel, TurnArena* arena, const Bounds& bounds);
  ~LegacyLink() override { account_->bytes -= booked_bytes_; }

  ReadResult read(FrameSink* sink, size_t budget_bytes) final;
  bool append(const Frame& frame, bool must_take) final;
  bool flush() final;
  bool on_writable() final { return flush(); }
  // Messages change their length on the way out, so only what is left can be told.
  uint64_t queue_left() const final { return std::max<uint64_t>(appended_bytes_, outbound_bytes()) - outbound_bytes(); }
  bool end_turn() final { return wake_ || (stopped_ && may_read()) || may_go_on(); }
  bool wants_writable() const final { return !out_.empty() && state != LinkState::kConnecting; }
  int socket_fd() const final { return channel_->fd(); }

  /// Bytes that were read before the peer was known to speak this protocol; read() begins with them.
  void begin_with(std::vector<uint8_t> bytes);

  /// What another engine needs to go on with it beside partial() and queue(); between two turns (legacy_state.cc).
  LegacyState save() const;
  /// Bytes that came and are not taken yet, in the order in which they will be.
  virtual std::string unread() const { return {partial_.begin(), partial_.end()}; }
  /// Bytes that the kernel has not taken.
  const OutQueue& queue() const { return out_; }
  /// Continues a link that was handed over; for a new one. False: no link can be in that state.
  bool restore(LegacyState all, std::string_view partial, std::string_view queue);

 protected:
  /// Cuts messages out of n bytes that live until the end of the turn. Returns how many it took; sets wanted_bytes_ to what it needs
  /// to go on, or ends the link with fail(). Stops early where may_read() says so.
  virtual size_t take(FrameSink* sink, const uint8_t* p, size_t n) = 0;
  /// Whether another message may be read now.
  virtual bool may_read() const = 0;
  /// Whether something waits for nothing but another visit.
  virtual bool may_go_on() const { return false; }
  /// Hands the engine what did not come from the peer.
  virtual void pump(FrameSink* sink) = 0;
  /// Takes a frame as Link::append() does.
  virtual bool take_frame(const Frame& frame, bool must_take) = 0;
  /// A message of the peer finds no room in the account: tells who waits for it, where they can be told.
  virtual ReadResult out_of_room(FrameSink* sink, const char* why) = 0;
  /// All was written. Returns false to end the link, with `reason`.
  virtual bool written() = 0;
  /// The peer sends no more. Whether the link goes on, for replies that it still waits for; else it ends.
  virtual bool on_end() { return false; }
  /// Bytes that its kind holds beside what waits to leave.
  virtual size_t own_bytes() const { return 0; }
  /// Its kind's part of save() and restore().
  virtual void save_own(LegacyState* all) const = 0;
  virtual bool restore_own(LegacyState* all) = 0;

  /// The peer broke the protocol.
  void fail(std::string why) {
    reason = std::move(why);
    failed_ = true;
  }
  /// This side goes on no longer, though the peer did nothing wrong.
  void end(std::string why) {
    reason = std::move(why);
    over_ = true;
  }
  /// Whether the account has room for so many more of this link's; counts where not.
  bool may_hold(uint64_t more_bytes) {
    book();
    return account_->may_hold(booked_bytes_, more_bytes);
  }
  /// The engine has closed this link while a frame was handed to it.
  bool give(FrameSink* sink, Frame& frame);

  /// A frame in the turn's memory; `body` must live until the end of the turn.
  Frame make_frame(const FixedPart& fixed, const uint8_t* header, size_t header_bytes, std::string_view body);
  /// The engine patches the bytes of a frame; this one has its numbers anew.
  static Frame as_patched(Frame frame) {
    decode_fixed(frame.head, &frame.fixed);
    return frame;
  }
  /// A private copy of a frame's body, as it may lie in a ring.
  std::string_view private_body(const Frame& frame);

  /// Sends a body with its first frame, in pieces when it is over a frame's bound.
  bool give_body(FrameSink* sink, FixedPart fixed, const uint8_t* header, size_t header_bytes, std::string_view body);
  /// The receiver of a body in pieces lets us send more.
  void on_credit(const Frame& frame);
  void forget_outgoing(uint64_t id);

  /// A body that comes in pieces.
  struct Incoming {
    uint64_t id = 0;
    uint64_t total_bytes = 0;
    uint64_t position = 0;  // of a request, see LegacyCalleeLink
    FixedPart fixed;
    std::string header;
    std::string body;
  };
  /// Why a message that begins with this frame cannot be held, or null.
  const char* no_room_for(const Frame& frame);
  /// Begins or continues; grants credit for what came. Null: not one that was begun.
  Incoming* join(const Frame& frame, uint8_t credit_flags);
  Incoming* find_incoming(uint64_t id);
  void forget_incoming(uint64_t id);

  void wake() { wake_ = true; }
  /// Whether a message has come in part.
  bool mid_message() const { return !partial_.empty(); }

  TurnArena* const arena_;
  LegacyAccount* const account_;
  const uint64_t max_outbound_bytes_;
  const size_t max_message_bytes_;
  OutQueue out_;
  size_t wanted_bytes_ = 0;
  std::vector<Incoming> incoming_;

 private:
  struct Outgoing {
    uint64_t id = 0;
    FixedPart fixed;  // of its chunks
    std::string body;
    size_t sent_bytes = 0;
    uint32_t allowance_bytes = 0;
  };
  struct Credit {
    uint64_t id;
    uint8_t flags;
    uint32_t bytes;
  };

  ReadResult read_all(FrameSink* sink, size_t budget_bytes);
  bool write_all();
  uint64_t held_bytes() const;
  void book();
  bool take_from(FrameSink* sink, const uint8_t* p, size_t n);
  Outgoing& begin_outgoing(uint64_t id, bool is_reply);
  bool send_pieces(FrameSink* sink);

  std::unique_ptr<Channel> channel_;
  std::vector<uint8_t> partial_;
  std::vector<Outgoing> outgoing_;
  std::vector<Credit> credits_;
  uint64_t booked_bytes_ = 0;  // in the account
  uint64_t appended_bytes_ = 0;  // of frames
  bool wake_ = false;     // read() has something to do that no event will tell of
  bool stopped_ = false;  // reading stopped because of may_read()
  bool failed_ = false;
  bool over_ = false;
  bool gone_ = false;
};

}  // namespace ringside
