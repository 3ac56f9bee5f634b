// A request's way back: a reply, a cancellation, an expired deadline, a link's death. Each ends in exactly one status for the
// caller and frees the pending; a status says that a request has not run only where that is proven.
#include <algorithm>
#include <cstring>

#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"
#include "native/engine/engine.h"

namespace ringside {

namespace {
constexpr size_t kMaxStatusHeaderBytes = 1024;
/// Older builds do not say why they cancel. Their deadlines, rounded to milliseconds at each hop, pass this much before ours at most.
constexpr int64_t kUnsaidDeadlineNs = 3 * kNsPerMs;

/// The status that a request ends with when `cancel` comes for it.
Code why_cancelled(const Frame& cancel, int64_t deadline_ns, int64_t now_ns) {
  const auto said = static_cast<Code>(cancel.fixed.status);
  if (said != Code::kOk) return said;
  return deadline_ns - now_ns <= kUnsaidDeadlineNs ? Code::kDeadlineExceeded : Code::kCancelled;
}

/// A reply whose body has begun, or a piece of it, comes from a request that ran.
void drop_not_run(Frame* frame) {
  if (!(frame->fixed.flags & kFlagNotRun)) return;
  frame->fixed.flags &= static_cast<uint8_t>(~kFlagNotRun);
  patch_flags(frame->head, frame->fixed.flags);
}
}  // namespace

bool Engine::on_reply(Link* link, Frame& frame) {
  if (link->role == LinkRole::kPeer) {
    violation(link, "a reply on a link that carries no requests in that direction");
    return false;
  }
  const uint32_t slot = pending_.find_reply(frame.fixed.request_id);
  if (slot == kNoPending) {  // its deadline passed or its caller went away
    counters_.stale_replies++;
    return true;
  }
  Pending& p = pending_.at(slot);
  if (!(p.upstream == link->handle)) {
    violation(link, "a reply to a request that went to another link");
    return false;
  }
  counters_.replies++;
  const int64_t latency_ns = now_ns_ - p.started_ns;
  const Handle downstream = p.downstream;
  if (p.instance != UINT32_MAX) {
    Instance& instance = clusters_.instance(p.instance);
    const float latency_us = static_cast<float>(latency_ns) / 1000.0f;
    instance.latency_us += (latency_us - instance.latency_us) / 16.0f;
  }

  patch_request_id(frame.head, p.downstream_id);
  const uint8_t status = frame.fixed.status;
  if (p.reply.open) {
    violation(link, "a second reply to a request");
    return false;
  }
  if (frame.fixed.flags & kFlagMore) return on_streamed_reply(slot, frame);
  Link* to = find_link(downstream);
  const bool awaited = to != nullptr && !to->closing_soon;
  if (awaited && !to->append(frame, false)) {  // before it is counted: what counts is what the caller gets
    counters_.refused_outbound_full++;
    finish_pending(slot, {Code::kResourceExhausted,
                          "the caller reads too slowly: its outbound queue is full (limits.outboundBytesPerLink)", false});
    return true;
  }
  if (status != 0 || latency_ns > options_.slow_request_ms * kNsPerMs) {
    HeaderView view;
    const bool readable = parse_header(frame.header(), frame.header_bytes(), &view) == nullptr;
    report_record(p, static_cast<Code>(status), readable ? view.status_message : std::string_view{}, latency_ns);
  }
  close_pending(slot, static_cast<Code>(status));
  if (!awaited) return true;
  to->responses_out++;
  touch(to);
  return true;
}

/// The first piece of a reply whose body comes in chunks: the pending stays until the last of them.
bool Engine::on_streamed_reply(uint32_t slot, Frame& frame) {
  Pending& p = pending_.at(slot);
  Link* to = find_link(p.downstream);
  drop_not_run(&frame);
  const auto fail = [&](const char* text, Code code = Code::kResourceExhausted) {
    cancel_upstream(slot, code);
    finish_pending(slot, {code, text, false});
    return true;
  };
  if (frame.fixed.value > options_.max_body_bytes) return fail("the reply's body is over the agent's limit (limits.bodyBytes)");
  if (frame.fixed.value <= frame.body_bytes) return fail("the reply's body is not as long as it says", Code::kDataLoss);
  if (to == nullptr || to->closing_soon) return true;
  if (to->shares.streams() >= options_.max_streams_per_link) {
    counters_.refused_streams_full++;
    return fail("too many streamed bodies on their way to the caller (limits.streamsPerLink)");
  }
  begin_stream(&p.reply, frame, to, {p.upstream.slot});
  to->responses_out++;
  touch(to);
  if (to->append(frame, false)) return true;
  to->shares.end_stream({p.upstream.slot});
  p.reply.open = false;
  counters_.refused_outbound_full++;
  return fail("the caller reads too slowly: its outbound queue is full (limits.outboundBytesPerLink)");
}

/// The caller wants no answer any more. It is counted with the status that the caller has ended its call with, which goes on to the next
/// hop: a deadline passes at the caller a moment before it passes here, and is one everywhere.
void Engine::on_cancel(Link* link, const Frame& frame) {
  counters_.cancels++;
  const uint64_t id = frame.fixed.request_id;
  const uint32_t slot = pending_.find_request(link->handle, id);
  if (slot != kNoPending) {
    const Pending& p = pending_.at(slot);
    const Code why = why_cancelled(frame, p.timer.deadline_ns, now_ns_);
    cancel_upstream(slot, why);
    if (why == Code::kDeadlineExceeded) {
      counters_.deadlines++;
      report_record(p, why, "the caller's deadline passed before the reply came", now_ns_ - p.started_ns);
    }
    close_pending(slot, why, why != Code::kDeadlineExceeded);
    return;
  }
  if (const uint32_t waiting = waiting_.find_request(link->handle, id); waiting != kNoHeld) {
    const HeldRequest& held = waiting_.at(waiting);
    count_cancelled(held, why_cancelled(frame, held.deadline_ns, now_ns_));
    stop_waiting(waiting);
    return;
  }
  const uint32_t at = parked_.find_request(link->handle, id);
  if (at == kNoHeld) return;
  HeldRequest& parked = parked_.at(at);
  count_cancelled(parked, why_cancelled(frame, parked.deadline_ns, now_ns_));
  timers_.clear(&parked.timer);
  parked_.remove(at);
}

/// A request that was held here is given up by its caller.
void Engine::count_cancelled(const HeldRequest& held, Code why) {
  if (why == Code::kDeadlineExceeded) counters_.deadlines++;
  count(held.flow, static_cast<uint8_t>(why), now_ns_ - held.arrived_ns);
}

/// Answers a request that has no pending (any more). One-way requests are only counted. Status replies without text always
/// find room: there are at most as many as requests.
void Engine::reply_to_request(Handle downstream, uint64_t request_id, FrameType type, const Verdict& verdict) {
  if (type == FrameType::kOneWay) {
    counters_.one_ways_dropped++;
    return;
  }
  Link* link = find_link(downstream);
  if (link == nullptr || link->closing_soon) return;
  Frame frame;
  frame.head = arena_.take(kFixedBytes + kMaxStatusHeaderBytes);
  const size_t header_bytes =
      verdict.text.empty() ? 0 : encode_status_message(frame.head + kFixedBytes, kMaxStatusHeaderBytes, verdict.text);
  arena_.give_back(frame.head, kFixedBytes + header_bytes);
  frame.fixed.type = verdict.in_stream ? FrameType::kChunk : FrameType::kResponse;
  frame.fixed.status = static_cast<uint8_t>(verdict.code);
  frame.fixed.flags = static_cast<uint8_t>((verdict.not_run ? kFlagNotRun : 0) | (verdict.in_stream ? kFlagReply : 0));
  frame.fixed.header_bytes = static_cast<uint32_t>(header_bytes);
  frame.fixed.request_id = request_id;
  encode_fixed(frame.fixed, frame.head);
  frame.head_bytes = kFixedBytes + header_bytes;
  frame.body = frame.head + frame.head_bytes;
  link->responses_out++;
  touch(link);
  if (link->append(frame, false)) return;
  // Beyond what may be queued for it, bodies in pieces included, an honest caller has at most one of these for each of its requests.
  if (link->outbound_bytes() > link->queue_bound(options_.max_outbound_bytes) + uint64_t{options_.max_pending} * kFixedBytes) {
    close_soon(link, "the peer sends requests but does not read the replies");
    return;
  }
  patch_header_bytes(frame.head, 0);
  frame.head_bytes = kFixedBytes;
  link->append(frame, true);
}

/// Ends a pending with a status of the engine's own.
void Engine::finish_pending(uint32_t slot, const Verdict& verdict) {
  Pending& p = pending_.at(slot);
  const Handle downstream = p.downstream;
  const uint64_t id = p.downstream_id;
  Verdict told = verdict;
  told.in_stream = p.reply.open;
  report_record(p, verdict.code, verdict.text, now_ns_ - p.started_ns);
  close_pending(slot, verdict.code);
  reply_to_request(downstream, id, FrameType::kRequest, told);
}

/// `given_up`: by its caller, which says nothing about the instance.
void Engine::close_pending(uint32_t slot, Code code, bool given_up) {
  Pending& p = pending_.at(slot);
  count(p.flow, static_cast<uint8_t>(code), now_ns_ - p.started_ns);
  timers_.clear(&p.timer);
  end_streams(p);
  if (p.instance != UINT32_MAX) {
    if (code != Code::kOk && code != Code::kCancelled && !given_up) clusters_.instance(p.instance).failures++;
    clusters_.finish(p.instance);
  }
  Link* down = find_link(p.downstream);
  Link* up = find_link(p.upstream);
  if (up != nullptr && up->drain_then_close) touch(up);
  pending_.close(slot, down != nullptr ? &down->down : nullptr, up != nullptr ? &up->up : nullptr);
}

void Engine::count(FlowRef ref, uint8_t status, int64_t latency_ns) {
  const Flow* flow = flows_.get(ref);
  if (flow == nullptr) return;
  FlowDetail& detail = flows_.detail(*flow);
  detail.by_status[std::min(status, kMaxCode)]++;
  if (!detail.latency) detail.latency = std::make_unique<Sketch>();
  detail.latency->add_ns(latency_ns);
}

void Engine::cancel_upstream(uint32_t slot, Code why) {
  const Pending& p = pending_.at(slot);
  Link* link = find_link(p.upstream);
  if (link == nullptr || link->closing_soon) return;
  // Always taken, as there is one for each pending at most: a slow peer is no reason to lose its other requests.
  append_control(link, {.type = FrameType::kCancel, .status = static_cast<uint8_t>(why), .request_id = pending_.request_id(slot)}, {}, true);
}

/// A request whose upstream link is gone. What the peer certainly never got whole goes to another endpoint, once, if its
/// bytes are still here; else the caller learns whether it may have run.
void Engine::lose_upstream(Link* link, uint32_t slot) {
  Pending& p = pending_.at(slot);
  // An app that is still there may yet read what stands in its ring: only what it left behind has not run. Who answers has the request,
  // whatever its link has taken.
  const bool not_run = !p.reply.open && (link->kind != LinkKind::kShm || link->peer_closed) && link->never_sent(p.end_position);
  const uint8_t* queued = not_run ? link->queued_frame(p.end_position, p.frame_bytes) : nullptr;
  // What another process handed over may be anything.
  FixedPart fixed;
  if (queued != nullptr && (p.frame_bytes < kFixedBytes || decode_fixed(queued, &fixed) != nullptr || frame_bytes(fixed) != p.frame_bytes)) queued = nullptr;
  Link* down = find_link(p.downstream);
  const bool awaited = down != nullptr && !down->closing_soon;
  // Where it waits for an instance there is no end to the attempts but its deadline; addresses that fail are tried less and less often.
  const Cluster* const target = queued != nullptr ? clusters_.find(p.cluster) : nullptr;
  const bool waits = target != nullptr && fixed.flags & kFlagWaitForReady && target->direction == Direction::kOutbound;
  if (queued == nullptr || p.streamed || (p.attempt >= kMaxRepicks && !waits) || !awaited) {
    const std::string text = "the next hop (" + link->peer + ") was lost: " + link->reason;
    finish_pending(slot, {Code::kUnavailable, text, not_run});
    return;
  }
  counters_.repicks++;
  uint8_t* const bytes = arena_.take(p.frame_bytes);
  std::memcpy(bytes, queued, p.frame_bytes);
  patch_request_id(bytes, p.downstream_id);
  fixed.request_id = p.downstream_id;
  Frame frame = frame_at(bytes, fixed);
  const Handle downstream = p.downstream;
  const FlowRef flow_ref = p.flow;
  const int64_t deadline_ns = p.timer.deadline_ns;
  const int64_t started_ns = p.started_ns;
  const uint8_t attempt = static_cast<uint8_t>(std::min(p.attempt + 1, UINT8_MAX));
  const RequestNote note = pending_.note(slot);
  const uint32_t cluster = p.cluster;  // not the flow's: a filter may have sent it elsewhere, and the flow may be gone
  // Not counted: the request goes on.
  timers_.clear(&p.timer);
  if (p.instance != UINT32_MAX) {
    clusters_.instance(p.instance).failures++;
    clusters_.finish(p.instance);
  }
  pending_.close(slot, &down->down, &link->up);
  forward(downstream, frame, flow_ref, cluster, deadline_ns, started_ns, attempt, note.name());
}

void Engine::expire_pending(uint32_t slot) {
  counters_.deadlines++;
  cancel_upstream(slot, Code::kDeadlineExceeded);
  // It may stand in a queue and still be sent, so nothing is proven.
  finish_pending(slot, {Code::kDeadlineExceeded, "the deadline passed before the reply came", false});
}

/// Whether TypeScript answers it itself instead of sending it on: it may be at it already, so nothing is proven.
bool Engine::is_answered_here(const HeldRequest& parked) {
  return parked.queue != UINT32_MAX && parked_.upcall(parked.queue).kind == UpcallKind::kControl;
}

void Engine::expire_parked(uint32_t slot) {
  counters_.deadlines++;
  const HeldRequest& parked = parked_.at(slot);
  const Handle downstream = parked.downstream;
  const uint64_t id = load_u64(parked.frame.data() + kRequestIdOffset);
  const auto type = static_cast<FrameType>(parked.frame[kTypeOffset]);
  const bool not_run = !is_answered_here(parked);
  count(parked.flow, static_cast<uint8_t>(Code::kDeadlineExceeded), now_ns_ - parked.arrived_ns);
  parked_.remove(slot);
  reply_to_request(downstream, id, type,
                   {Code::kDeadlineExceeded,
                    not_run ? "the deadline passed while the agent was deciding where to send it"
                            : "the deadline passed before the agent had answered",
                    not_run});
}

/// A frame without a body of the engine's own: cancel, credit, ping, pong, go-away, its ack. One that finds no room closes the link.
void Engine::append_control(Link* link, const FixedPart& fixed, std::string_view header, bool must_take) {
  Frame frame;
  frame.head = arena_.take(kFixedBytes + header.size());
  frame.fixed = fixed;
  frame.fixed.header_bytes = static_cast<uint32_t>(header.size());
  encode_fixed(frame.fixed, frame.head);
  if (!header.empty()) std::memcpy(frame.head + kFixedBytes, header.data(), header.size());
  frame.head_bytes = kFixedBytes + header.size();
  frame.body = frame.head + frame.head_bytes;
  touch(link);
  if (!link->append(frame, must_take)) {
    close_soon(link, "the peer does not read: its outbound queue is full");
  } else if (must_take && link->outbound_bytes() > 0) {
    link->shares.queued_exempt(frame.bytes(), link->queue_end());
  }
}

}  // namespace ringside
