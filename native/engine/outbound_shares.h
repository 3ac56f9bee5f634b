// What everybody who sends requests towards one link holds of the way there: bytes in its outbound queue, and bodies in pieces. Many callers
// share the link to a server or to another agent, and one of them that takes all it can get must leave room for the others (fair_share.h):
// each link its share, and behind another agent's link each of its apps. Bodies in pieces have room of their own, kMaxQueuedStreamBytes each,
// which they keep until their last byte has left the queue; what must be taken whatever is queued, such as cancellations, is noted so that it
// takes nobody's room. Kept by a link and used by the engine, which notes nothing while little is queued.
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace ringside {

/// Who sends. A new link in the slot of one that is gone inherits what that one left behind, so that nobody gets a fresh share by connecting
/// anew.
struct Sender {
  uint32_t link = 0;  // its slot
  uint32_t app = 0;   // a hash of its name if it is behind another agent, else 0
};

class OutboundShares {
 public:
  /// Whether `sender` may have `bytes` more queued of the `capacity` that all share.
  bool may_queue(Sender sender, uint64_t bytes, uint64_t capacity) const;
  /// They were queued, the last of them before `end_position` of the queue (Link::queue_end()).
  void queued(Sender sender, uint64_t bytes, uint64_t end_position);
  /// Bytes were queued that count for nobody.
  void queued_exempt(uint64_t bytes, uint64_t end_position);

  /// Whether `sender` may begin one more body in pieces where the link may have `capacity` of them.
  bool may_stream(Sender sender, uint32_t capacity) const;
  void begin_stream(Sender sender);
  /// It is over, and its room is free at once.
  void end_stream(Sender sender);
  /// It is over; its room is free when what stands before `end_position` has left.
  void end_stream_at(Sender sender, uint64_t end_position);

  /// The queue has got rid of everything before `position`.
  void left(uint64_t position);
  /// Whether left() has anything to free.
  bool waiting() const { return !departures_.empty(); }

  uint32_t streams() const { return streams_; }
  uint64_t exempt_bytes() const { return exempt_bytes_; }

 private:
  struct Share {
    uint64_t bytes = 0;
    uint32_t streams = 0;
  };
  /// What becomes free when the queue has got that far.
  struct Departure {
    uint64_t end_position;
    uint64_t bytes;
    Sender sender;
    enum class Of : uint8_t { kShare, kExempt, kStream } of;
  };

  using Key = uint64_t;
  static Key link_key(Sender sender) { return sender.link; }
  static Key app_key(Sender sender) { return uint64_t{sender.app} << 32 | sender.link; }
  Share held(Key key) const;
  void add(Sender sender, uint64_t bytes, uint32_t streams);
  void release(Sender sender, uint64_t bytes, uint32_t streams);
  void release_one(Key key, uint64_t bytes, uint32_t streams);

  std::unordered_map<Key, Share> shares_;  // of the links that hold something, and of the apps behind them
  uint64_t bytes_ = 0;                          // of all shares
  uint64_t exempt_bytes_ = 0;
  uint32_t streams_ = 0;
  std::vector<Departure> departures_;  // in order
  size_t first_ = 0;                   // that is still to come
};

}  // namespace ringside
