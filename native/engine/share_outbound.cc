// The way to a link is shared out among those who send requests there (outbound_shares.h). Whoever forwards a request or a piece of its body
// asks here; bodies in pieces begin and end here, in both directions. Replies take what is free: they are the receiver's own doing.
#include <algorithm>

#include "native/codec/mesh_header.h"
#include "native/engine/engine.h"
#include "native/engine/hash.h"

namespace ringside {

namespace {
// As long as no more than this part of the queue is in use, nobody is asked and nothing is noted: almost always.
constexpr uint64_t kUnsharedPart = 8;
}  // namespace

/// Whether so much more on this link's queue counts for somebody's share.
bool Engine::is_shared(const Link& to, uint64_t bytes) const {
  return to.outbound_bytes() + bytes > options_.max_outbound_bytes / kUnsharedPart;
}

Sender Engine::sender_of(const Link& from, const Frame& request) const {
  Sender sender{from.handle.slot, 0};
  HeaderView view;
  if (from.role != LinkRole::kPeer || parse_header(request.header(), request.header_bytes(), &view) != nullptr) return sender;
  sender.app = std::max(1u, static_cast<uint32_t>(hash_bytes(view.source_app, options_.seed)));
  return sender;
}

/// Appends a frame of a request, of which `bytes` count for its sender's share. False: the queue is full, or as full as the sender may make it.
bool Engine::append_shared(Link* to, Sender sender, const Frame& frame, uint64_t bytes) {
  if (!is_shared(*to, bytes)) return to->append(frame, false);
  const uint64_t capacity = options_.max_outbound_bytes - options_.max_outbound_bytes / kUnsharedPart;
  if (!to->shares.may_queue(sender, bytes, capacity) || !to->append(frame, false)) return false;
  if (bytes > 0 && to->outbound_bytes() > 0) to->shares.queued(sender, bytes, to->queue_end());
  return true;
}

/// Books a body in pieces towards `to`, which has room for it.
void Engine::begin_stream(BodyStream* stream, const Frame& frame, Link* to, Sender sender) {
  to->shares.begin_stream(sender);
  counters_.streams++;
  largest_body_bytes_ = std::max(largest_body_bytes_, frame.fixed.value);
  stream->open = true;
  stream->left_bytes = frame.fixed.value - static_cast<uint32_t>(frame.body_bytes);
  stream->allowance_bytes = kStreamWindowBytes - static_cast<uint32_t>(frame.body_bytes);
}

void Engine::end_stream(BodyStream* stream, Link* to, Sender sender) {
  if (!stream->open) return;
  stream->open = false;
  if (to == nullptr) return;
  if (to->outbound_bytes() == 0) {
    to->shares.end_stream(sender);
  } else {
    to->shares.end_stream_at(sender, to->queue_end());
  }
}

void Engine::end_streams(Pending& p) {
  end_stream(&p.request, find_link(p.upstream), p.sender);
  end_stream(&p.reply, find_link(p.downstream), {p.upstream.slot});
}

/// Notes anew what stands in a queue that was handed over. Whose requests are under way is known; the rest counts for nobody.
void Engine::share_imported_queue(Link* link) {
  if (!is_shared(*link, 0)) return;
  for (uint32_t slot = link->up.head; slot != kNoPending; slot = pending_.at(slot).up_next) {
    const Pending& p = pending_.at(slot);
    if (!p.streamed && link->never_sent(p.end_position)) link->shares.queued(p.sender, p.frame_bytes, link->queue_end());
  }
  // Bodies in pieces that had ended, and cancellations.
  const uint64_t bound = link->queue_bound(options_.max_outbound_bytes);
  if (link->outbound_bytes() > bound) link->shares.queued_exempt(link->outbound_bytes() - bound, link->queue_end());
}

}  // namespace ringside
