// A link: framed bytes to one peer. The engine reads frames from it, appends frames to it, and flushes it once at the end of a
// loop turn. What a kind of link does not get rid of at once it keeps in a bounded queue, so one slow peer never stops the
// others. Links know nothing of requests; the engine keeps its own bookkeeping in the public fields at the end.
#pragma once

#include <cstdint>
#include <string>

#include "native/codec/frame.h"
#include "native/engine/handle.h"
#include "native/engine/outbound_shares.h"
#include "native/engine/pending.h"
#include "native/engine/timers.h"

namespace ringside {

enum class LinkKind : uint8_t { kShm = 0, kUnix = 1, kTcp = 2 };
enum class LinkRole : uint8_t {
  kApp = 0,      // an application of this agent
  kPeer = 1,     // another agent that connected to us
  kUpstream = 2,  // another agent that we connected to
  kSuccessor = 3  // a new process of this agent, which takes over; of listeners only
};
enum class LinkProtocol : uint8_t { kMesh = 0, kLegacy = 1 };
/// Where whoever opened a link is, as far as it matters to what he may do.
enum class CallerPlace : uint8_t {
  kNotAsked = 0,  // nothing depends on it, or the link came from a process that did not ask
  kElsewhere = 1,
  kHere = 2,            // on this machine, under a user who may use this agent
  kHereUnallowed = 3,  // on this machine, under one who may not, or whom the kernel does not tell
};
enum class LinkState : uint8_t {
  kConnecting,  // connect() under way
  kOpening,     // awaiting the peer's hello or welcome
  kOpen,
  kClosing,  // refused: what is queued is still written, then its socket is parted from
};

/// One frame in memory. `head` (fixed part and header) is private and may be changed in place; `body` stands right behind it, or
/// inside a ring whose peer may still change it.
struct Frame {
  FixedPart fixed;
  uint8_t* head = nullptr;
  size_t head_bytes = 0;
  const uint8_t* body = nullptr;
  size_t body_bytes = 0;

  const uint8_t* header() const { return head + kFixedBytes; }
  size_t header_bytes() const { return head_bytes - kFixedBytes; }
  size_t bytes() const { return head_bytes + body_bytes; }
};

/// The whole frame that lies at `bytes`, whose fixed part was read.
inline Frame frame_at(uint8_t* bytes, const FixedPart& fixed) {
  Frame frame;
  frame.fixed = fixed;
  frame.head = bytes;
  frame.head_bytes = kFixedBytes + fixed.header_bytes;
  frame.body = bytes + frame.head_bytes;
  frame.body_bytes = fixed.body_bytes;
  return frame;
}

class Link;

class FrameSink {
 public:
  virtual ~FrameSink() = default;
  /// Takes one frame; its memory lives until the end of the turn. False: the link was closed, stop reading.
  virtual bool on_frame(Link* link, Frame& frame) = 0;
};

enum class ReadResult : uint8_t {
  kDrained,    // nothing more until the next event
  kMore,       // the budget ran out: read again next turn
  kClosed,     // the peer closed; `reason` says how
  kViolation,  // the peer broke the protocol; `reason` says how
  kLegacy,     // its first bytes are those of the legacy protocol, and were kept
};

class Link {
 public:
  Link(LinkKind kind_, LinkRole role_) : kind(kind_), role(role_) { timer.kind = TimerKind::kLink; }
  virtual ~Link() = default;
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  virtual ReadResult read(FrameSink* sink, size_t budget_bytes) = 0;

  /// Takes a frame to be sent with the next flush(). False: over the link's bound; nothing was taken. With
  /// `must_take` the bound does not count: only for status replies without a body, whose number the pending table bounds.
  virtual bool append(const Frame& frame, bool must_take) = 0;

  /// Hands over what was appended. False: the peer is gone, `reason` says how.
  virtual bool flush() = 0;

  /// Ends the turn for this link once nobody points into its memory: gives ring space back and arms the doorbell.
  /// True: there is more to read, call read() again next turn.
  virtual bool end_turn() { return false; }

  /// The peer can take (or took) more: tries to write what is queued. False as for flush().
  virtual bool on_writable() = 0;

  /// Whether the frame that ended at `end_position` of the outbound bytes was certainly not taken whole by the peer.
  virtual bool never_sent(uint64_t end_position) = 0;
  /// Position behind everything appended so far, for never_sent().
  virtual uint64_t end_position() const = 0;
  /// How much has left the queue so far, and how much will have when what is in it has; in bytes, counted from anywhere.
  virtual uint64_t queue_left() const = 0;
  uint64_t queue_end() const { return queue_left() + outbound_bytes(); }
  /// A queued frame by its end position and length, or nullptr when part of it has left. Valid until the next append or flush.
  virtual const uint8_t* queued_frame(uint64_t end_position, size_t frame_bytes) const = 0;

  virtual size_t outbound_bytes() const = 0;
  /// Whether the kernel took less than offered, so that the caller must listen for writability.
  virtual bool wants_writable() const { return false; }
  /// What may be queued when the operator's bound is `max_outbound_bytes`: streams have room of their own, so that small
  /// frames are not refused because of them.
  uint64_t queue_bound(uint64_t max_outbound_bytes) const {
    return max_outbound_bytes + shares.streams() * kMaxQueuedStreamBytes + shares.exempt_bytes();
  }
  /// Descriptor that tells of the peer's death (and carries bytes, except for shm).
  virtual int socket_fd() const = 0;
  /// The doorbell's descriptor, or -1.
  virtual int doorbell_fd() const { return -1; }

  const LinkKind kind;
  LinkRole role;
  LinkProtocol protocol = LinkProtocol::kMesh;  // that its peer speaks; towards the engine each link speaks mesh
  LinkState state = LinkState::kOpening;
  Handle handle;
  std::string reason;  // why it closed

  // The engine's bookkeeping.
  std::string app;   // as the peer's hello says
  std::string peer;  // address or credentials, for people
  std::string note;  // why it got no shared memory although it asked
  uint32_t uid = UINT32_MAX;  // of whoever opened it, as far as it is known
  uint32_t pid = 0;
  CallerPlace place = CallerPlace::kNotAsked;
  uint32_t listener = UINT32_MAX;
  uint32_t upstream = UINT32_MAX;  // slot in Upstreams
  uint32_t ring_bytes = 0;         // to be granted, between hello and welcome
  TimerNode timer;
  PendingList down;  // requests that came from here
  PendingList up;    // requests that went there
  bool writable_armed = false;  // the poller listens for EPOLLOUT
  bool dirty = false;      // on the list of links to flush
  bool read_again = false;  // on the list of links to read in the next turn
  bool closing_soon = false;
  bool drain_then_close = false;  // no new requests; close when nothing is pending
  bool reported_up = false;
  uint8_t silent_intervals = 0;
  uint64_t bytes_in_at_last_check = 0;
  OutboundShares shares;     // of those who send towards this peer
  double miss_tokens = 0;
  int64_t miss_tokens_at_ns = 0;
  uint32_t go_aways_in = 0;  // since go_aways_since_ns
  int64_t go_aways_since_ns = 0;
  int64_t since_ns = 0;
  uint32_t go_away_rounds = 0;  // bit per round whose ack is awaited
  bool peer_closed = false;     // the peer ended it, so it reads nothing any more
  bool condemned = false;       // the peer broke the protocol: it gets nothing any more
  bool answered = false;        // an old server did, so that this link's end says nothing about its address
  bool hung_up = false;         // the poller told of the end, which may stand right behind the last bytes
  uint64_t requests_in = 0, responses_out = 0, frames_in = 0, frames_out = 0, bytes_in = 0, bytes_out = 0;
};

}  // namespace ringside
