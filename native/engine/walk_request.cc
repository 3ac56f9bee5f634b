// A request's way out: frame -> header -> flow -> endpoint -> link, or parked until TypeScript has decided. Everything that cannot go
// on is answered with a status that says which bound or fact stopped it, and that it has not run.
#include <algorithm>
#include <cstring>

#include "native/codec/mesh_header.h"
#include "native/engine/engine.h"
#include "native/engine/pick.h"

namespace ringside {

namespace {
constexpr std::string_view kControlService = "ringside.agent";
// Which every agent answers to old callers itself (docs/legacy.md).
constexpr std::string_view kLookupService = "/service/lookup";
constexpr std::string_view kRegistrationService = "/service/moa-admin";
}  // namespace

int64_t Engine::deadline_of(const Frame& frame, uint32_t flow_timeout_ms, int64_t arrived_ns) const {
  uint32_t ms = frame.fixed.timeout_ms;
  if (ms == 0) ms = flow_timeout_ms != 0 ? flow_timeout_ms : options_.default_timeout_ms;
  return arrived_ns + std::min(ms, options_.max_timeout_ms) * kNsPerMs;
}

bool Engine::on_request(Link* link, Frame& frame) {
  if (link->role == LinkRole::kUpstream) {
    violation(link, "a request from an agent that we connected to");
    return false;
  }
  const FrameType type = frame.fixed.type;
  const uint64_t id = frame.fixed.request_id;
  link->requests_in++;
  counters_.requests++;
  if (type == FrameType::kOneWay) counters_.one_ways++;

  HeaderView view;
  if (const char* problem = parse_header(frame.header(), frame.header_bytes(), &view)) {
    reply_to_request(link->handle, id, type, {Code::kInvalidArgument, problem, true});
    return true;
  }
  if (view.service.empty()) {
    reply_to_request(link->handle, id, type, {Code::kInvalidArgument, "the request names no service", true});
    return true;
  }
  if (frame.fixed.flags & kFlagMore && !accept_stream(link->handle, frame)) return true;
  if (type == FrameType::kRequest && pending_.find_request(link->handle, id) != kNoPending) {
    violation(link, "a request id that is in use");
    return false;
  }
  const Direction direction = link->role == LinkRole::kApp ? Direction::kOutbound : Direction::kInbound;
  if (link->protocol == LinkProtocol::kLegacy && (view.service == kLookupService || view.service == kRegistrationService)) {
    counters_.control_requests++;
    park(link, frame, direction, UpcallKind::kControl, {}, {}, deadline_of(frame, 0, now_ns_));
    return true;
  }
  if (view.service == kControlService) {
    counters_.control_requests++;
    if (direction == Direction::kInbound) {
      reply_to_request(link->handle, id, type, {Code::kPermissionDenied, "only an agent's own apps may call it", true});
    } else {
      park(link, frame, direction, UpcallKind::kControl, {}, {}, deadline_of(frame, 0, now_ns_));
    }
    return true;
  }
  route(link, frame, direction, view, now_ns_, false);
  return true;
}

/// From header to flow. `again`: the request was parked for this and TypeScript has decided, so a miss is final.
void Engine::route(Link* link, Frame& frame, Direction direction, const HeaderView& view, int64_t arrived_ns, bool again) {
  const uint64_t id = frame.fixed.request_id;
  const FrameType type = frame.fixed.type;
  const FlowLookup found = flows_.lookup(direction, view, frame.header(), frame.header_bytes());
  if (found.flow == nullptr) {
    if (again) {
      // Flows of the same batch of decisions may have pushed this one out.
      const bool crowded = flows_.size() == flows_.capacity();
      reply_to_request(link->handle, id, type,
                       crowded ? Verdict{Code::kResourceExhausted, "too many kinds of requests at a time (limits.flows)", true}
                               : Verdict{Code::kInternal, "the agent decided on this request but installed no flow", true});
      return;
    }
    counters_.flow_misses++;
    park(link, frame, direction, UpcallKind::kMiss, found.miss_key, {}, deadline_of(frame, 0, arrived_ns));
    return;
  }
  if (!again) counters_.flow_hits++;
  const Flow& flow = *found.flow;
  FlowDetail& detail = flows_.detail(flow);
  detail.requests++;
  const int64_t deadline_ns = deadline_of(frame, flow.timeout_ms, arrived_ns);
  if (flow.upcall) {
    park(link, frame, direction, UpcallKind::kFilter, {}, found.ref, deadline_ns);
  } else if (flow.kind == FlowAction::Kind::kReject) {
    counters_.rejected++;
    count(found.ref, static_cast<uint8_t>(detail.code), now_ns_ - arrived_ns);
    reply_to_request(link->handle, id, type, {detail.code, detail.text, true});
  } else {
    forward(link->handle, frame, found.ref, flow.cluster, deadline_ns, arrived_ns, 0, RequestName::of(view));
  }
}

/// The upcalls that a link may cause right now.
double Engine::miss_tokens_of(const Link& link) const {
  const double rate = options_.upcalls_per_second_per_link;
  const double elapsed_s = static_cast<double>(now_ns_ - link.miss_tokens_at_ns) * 1e-9;
  return std::min(rate, link.miss_tokens + elapsed_s * rate);
}

bool Engine::take_miss_token(Link* link) {
  link->miss_tokens = miss_tokens_of(*link);
  link->miss_tokens_at_ns = now_ns_;
  if (link->miss_tokens < 1) return false;
  link->miss_tokens -= 1;
  return true;
}

/// Keeps a private copy of the request and asks TypeScript, unless the same question is under way already.
void Engine::park(Link* link, const Frame& frame, Direction direction, UpcallKind kind, std::string_view key, FlowRef flow,
                  int64_t deadline_ns) {
  const uint64_t id = frame.fixed.request_id;
  const FrameType type = frame.fixed.type;
  const auto refuse_request = [&](const char* text) {
    count(flow, static_cast<uint8_t>(Code::kResourceExhausted), 0);
    reply_to_request(link->handle, id, type, {Code::kResourceExhausted, text, true});
  };
  // Upcalls not taken yet count even when their requests were cancelled meanwhile: a caller that asks and cancels must not
  // fill the mailbox while TypeScript is busy.
  if (unread_bytes() > max_unread_bytes()) {
    counters_.refused_upcalls_full++;
    refuse_request("the agent's main thread is behind with its decisions: too many bytes of them wait (limits.parkedBytes)");
    return;
  }
  if (!parked_.has_room(frame.bytes()) || !parked_.has_share(link->handle, 1, frame.bytes())) {
    counters_.refused_parked_full++;
    refuse_request("too many requests wait for a decision (limits.parked, limits.parkedBytes)");
    return;
  }
  uint32_t upcall = kind == UpcallKind::kMiss ? parked_.find_upcall(key) : UINT32_MAX;
  const bool ask = upcall == UINT32_MAX;
  if (ask) {
    if (kind != UpcallKind::kFilter && !take_miss_token(link)) {
      counters_.refused_miss_rate++;
      refuse_request("this link asks for too many new kinds of requests per second (limits.upcallsPerSecondPerLink)");
      return;
    }
    upcall = parked_.open_upcall(kind, key);
  }
  std::vector<uint8_t> copy(frame.bytes());
  std::memcpy(copy.data(), frame.head, frame.head_bytes);
  if (frame.body_bytes > 0) std::memcpy(copy.data() + frame.head_bytes, frame.body, frame.body_bytes);
  const uint32_t slot = parked_.park(upcall, link->handle, std::move(copy));
  HeldRequest& parked = parked_.at(slot);
  parked.flow = flow;
  parked.arrived_ns = now_ns_;
  parked.deadline_ns = deadline_ns;
  timers_.set(&parked.timer, deadline_ns);
  if (!ask) return;
  (kind == UpcallKind::kFilter ? counters_.filter_upcalls : counters_.upcalls)++;
  report_upcall(parked_.token(upcall), kind, direction, *link, frame);
}

bool Engine::usable(uint32_t slot) {
  const Instance& instance = clusters_.instance(slot);
  if (instance.draining) return false;
  if (instance.local) {
    const Link* link = find_link(instance.link);
    return link != nullptr && !link->closing_soon && link->state == LinkState::kOpen;
  }
  const Upstream& upstream = upstreams_.at(instance.upstream);
  for (const Handle handle : upstream.links) {
    const Link* const link = find_link(handle);
    if (link != nullptr && !link->closing_soon && !link->drain_then_close) return true;
  }
  // A link that is about to end is looked at as before: its agent went away, or it is closed within this turn.
  if (upstream.protocol == LinkProtocol::kMesh && !upstream.links.empty()) return false;
  return now_ns_ >= upstream.next_attempt_ns;
}

uint32_t Engine::pick_instance(Cluster& cluster) {
  return pick(cluster, clusters_, random_, [this](uint32_t slot) { return usable(slot); });
}

/// The link by which a request reaches an instance, connecting when there is none yet. Null: not now.
Link* Engine::link_of(uint32_t slot, Handle downstream, const Frame& request) {
  const Instance& instance = clusters_.instance(slot);
  Link* link = nullptr;
  if (instance.local) {
    link = find_link(instance.link);
  } else {
    const Upstream& upstream = upstreams_.at(instance.upstream);
    link = upstream.protocol == LinkProtocol::kLegacy ? legacy_link_of(upstream, find_link(downstream), request)
           : upstream.links.empty()                   ? nullptr
                                                      : find_link(upstream.links.front());
    if (link == nullptr) link = connect_upstream(instance.upstream);
  }
  if (link == nullptr || link->closing_soon) return nullptr;
  return link;
}

/// The text for a caller whose request found no endpoint, with what the first address in trouble said.
std::string Engine::why_unreachable(const Cluster& cluster) {
  constexpr size_t kLooks = 16;
  std::string text = "no instance of this service can be reached now";
  for (size_t i = 0; i < std::min(cluster.instances.size(), kLooks); i++) {
    const Instance& instance = clusters_.instance(cluster.instances[i]);
    if (instance.local) continue;
    const Upstream& upstream = upstreams_.at(instance.upstream);
    if (!upstream.last_error.empty()) return text + " (" + upstream.address + ": " + upstream.last_error + ")";
  }
  return text;
}

/// Sends a request to an endpoint of `cluster`. The frame's fixed part is patched in place; header and body pass untouched.
void Engine::forward(Handle downstream, Frame& frame, FlowRef flow_ref, uint32_t cluster_id, int64_t deadline_ns,
                     int64_t arrived_ns, uint8_t attempt, const RequestName& name) {
  const uint64_t id = frame.fixed.request_id;
  const FrameType type = frame.fixed.type;
  const auto refuse_request = [&](const Verdict& verdict) {
    count(flow_ref, static_cast<uint8_t>(verdict.code), now_ns_ - arrived_ns);
    reply_to_request(downstream, id, type, verdict);
  };
  if (deadline_ns <= now_ns_) {
    counters_.deadlines++;
    refuse_request({Code::kDeadlineExceeded, "the deadline passed before the request was sent on", true});
    return;
  }
  Cluster* cluster = clusters_.find(cluster_id);
  if (cluster == nullptr || cluster->instances.empty()) {
    if (cluster != nullptr && may_wait(*cluster, frame)) {
      wait_at(*cluster, downstream, frame, flow_ref, deadline_ns, arrived_ns);
    } else {
      refuse_request({Code::kUnavailable, kNotRegistered, true});
    }
    return;
  }
  const bool wants_reply = type == FrameType::kRequest;
  const uint32_t timeout_ms = static_cast<uint32_t>((deadline_ns - now_ns_ + kNsPerMs - 1) / kNsPerMs);
  patch_timeout_ms(frame.head, timeout_ms);
  // Counted over all agents on the way, so that the one who serves it knows; our own re-picks are bounded by `attempt` alone.
  const uint8_t sendings = frame.fixed.attempt + (attempt > 0 && frame.fixed.attempt < UINT8_MAX ? 1 : 0);
  patch_attempt(frame.head, sendings);

  // An address that fails at once (no descriptor, no route) is in backoff afterwards, so the next pick finds another.
  for (uint8_t tries = 0; tries <= kMaxRepicks; tries++) {
    const uint32_t picked = pick_instance(*cluster);
    if (picked == kNoInstance) break;
    Link* link = link_of(picked, downstream, frame);
    if (link == nullptr) continue;
    if (!wants_reply) {
      patch_request_id(frame.head, 0);
      const Link* const from = find_link(downstream);
      if (from == nullptr) return;
      const Sender sender = is_shared(*link, frame.bytes()) ? sender_of(*from, frame) : Sender{};
      const bool taken = append_shared(link, sender, frame, frame.bytes());
      if (!taken) counters_.one_ways_dropped++;
      clusters_.instance(picked).requests++;
      count(flow_ref, static_cast<uint8_t>(taken ? Code::kOk : Code::kResourceExhausted), now_ns_ - arrived_ns);
      touch(link);
      return;
    }
    Link* from = find_link(downstream);
    if (from == nullptr) return;
    // Else one app that asks much and waits long would leave nothing for the others.
    Sender counted;
    const uint32_t slot = may_await(*from, *link, frame, &counted) ? pending_.open(downstream, id, &from->down) : kNoPending;
    if (slot == kNoPending) {
      counters_.refused_pending_full++;
      refuse_request({Code::kResourceExhausted,
                      "too many requests await their replies: the table, or the share of it that this caller has, is full (limits.pending)",
                      true});
      return;
    }
    if (counted.app != 0) pending_.count_for(slot, counted);
    Pending& p = pending_.at(slot);
    p.streamed = frame.fixed.flags & kFlagMore;
    const uint64_t shared_bytes = p.streamed ? frame.head_bytes : frame.bytes();
    if (p.streamed || is_shared(*link, shared_bytes) || link->protocol == LinkProtocol::kLegacy) p.sender = sender_of(*from, frame);
    if (p.streamed && !link->shares.may_stream(p.sender, options_.max_streams_per_link)) {
      counters_.refused_streams_full++;
      pending_.close(slot, &from->down, nullptr);
      refuse_request({Code::kResourceExhausted, "too many streamed bodies on their way to the next hop (limits.streamsPerLink)", true});
      return;
    }
    if (p.streamed) begin_stream(&p.request, frame, link, p.sender);
    p.flow = flow_ref;
    p.started_ns = arrived_ns;
    p.attempt = attempt;
    p.frame_bytes = static_cast<uint32_t>(frame.bytes());
    p.instance = picked;
    p.cluster = cluster_id;
    pending_.note(slot).set(name);
    patch_request_id(frame.head, pending_.request_id(slot));
    if (!append_shared(link, p.sender, frame, shared_bytes)) {
      counters_.refused_outbound_full++;
      p.instance = UINT32_MAX;
      if (p.request.open) link->shares.end_stream(p.sender);
      pending_.close(slot, &from->down, nullptr);
      refuse_request({Code::kResourceExhausted, "the next hop reads too slowly: its outbound queue is full (limits.outboundBytesPerLink)",
                      true});
      return;
    }
    pending_.attach_upstream(slot, link->handle, &link->up);
    p.end_position = link->end_position();
    clusters_.instance(picked).in_flight++;
    clusters_.instance(picked).requests++;
    timers_.set(&p.timer, deadline_ns);
    touch(link);
    return;
  }
  if (may_wait(*cluster, frame)) {
    wait_at(*cluster, downstream, frame, flow_ref, deadline_ns, arrived_ns);
  } else {
    refuse_request({Code::kUnavailable, why_unreachable(*cluster), true});
  }
}

}  // namespace ringside
