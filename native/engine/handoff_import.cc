// Puts to use what another engine handed over. import_state() checks everything and touches nothing that is shared: until the commit the other
// engine may go on with all of it. resume_imported() comes after the commit and visits every link once, because with edge-triggered polling
// nobody tells of what came in between.
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "native/base/errno_text.h"
#include "native/codec/mesh_header.h"
#include "native/engine/engine.h"
#include "native/engine/handoff_state.h"
#include "native/engine/handoff_wire.h"
#include "native/link/shm_link.h"
#include "native/link/stream_link.h"

namespace ringside {

namespace {

constexpr uint32_t kMaxPendingSlots = 1u << 20;
constexpr int64_t kMaxDurationNs = int64_t{1} << 56;  // two years

Error malformed(const char* what) { return Error{Code::kInvalidArgument, std::string("the state handed over makes no sense: ") + what}; }
Error exhausted(const char* what) { return Error{Code::kResourceExhausted, std::string(what) + ": " + errno_text(errno)}; }

int64_t duration(uint64_t ns) { return static_cast<int64_t>(std::min<uint64_t>(ns, kMaxDurationNs)); }

bool is_known(LinkKind kind) { return kind <= LinkKind::kTcp; }
bool is_known(LinkRole role) { return role <= LinkRole::kUpstream; }

bool restore(BodyStream* stream, const std::vector<StreamedBodyState>& state) {
  if (state.empty()) return true;
  const StreamedBodyState& s = state.front();
  if (s.allowance_bytes > kStreamWindowBytes || s.held_credit_bytes > kStreamWindowBytes) return false;
  *stream = {true, s.left_bytes, s.allowance_bytes, s.held_credit_bytes};
  return true;
}

}  // namespace

Result<Unit> Engine::import_state(EngineState& state, DescriptorStore* descriptors) {
  now_ns_ = clock_->now_ns();
  if (live_links_ > 0 || pending_.size() > 0) return Error{Code::kFailedPrecondition, "this engine serves already"};
  epoll_ = std::move(descriptors->poller);
  if (!poll_add(wake_fd_.get(), EPOLLIN, poll_data(PollTag::kWake))) return exhausted("cannot poll what was handed over");
  for (const ListenerState& listener : state.listeners) {
    if (Result<Unit> done = import_listener(listener, descriptors); !done) return done;
  }
  uint32_t slots = 0;
  for (const MovedLink& moved : state.links) {
    const uint32_t slot = Handle::unpack(moved.handle).slot;
    if (slot >= kMaxHandleSlots - 1) return malformed("a link's handle");
    slots = std::max(slots, slot + 1);
  }
  links_.resize(slots);
  for (MovedLink& moved : state.links) {
    if (Result<Unit> done = import_link(moved, descriptors); !done) return done;
  }
  for (uint32_t slot = slots; slot > 0; slot--) {
    if (links_[slot - 1].link) continue;
    links_[slot - 1].generation = state.link_generation + 1;
    free_links_.push_back(slot - 1);
  }
  import_accounts(state);
  if (Result<Unit> done = import_pendings(state); !done) return done;
  for (const ParkedState& parked : state.parked) {
    if (find_link(Handle::unpack(parked.link)) == nullptr) return malformed("a parked request without a link");
  }
  imported_parked_ = std::move(state.parked);
  return Unit{};
}

Result<Unit> Engine::import_listener(const ListenerState& state, DescriptorStore* descriptors) {
  const auto came = descriptors->listeners.find(state.id);
  if (came == descriptors->listeners.end()) return malformed("a listener without its socket");
  if (!is_known(state.kind) || state.role > LinkRole::kSuccessor) return malformed("a listener's kind");
  const auto slot = static_cast<uint32_t>(listeners_.size());
  listeners_.push_back(Listener{state.id, state.kind, state.role, std::move(came->second), false, true});
  if (poll_add(listeners_.back().fd.get(), EPOLLIN, poll_data(PollTag::kListener, slot))) return Unit{};
  return exhausted("cannot poll a listener");
}

Result<Unit> Engine::import_link(MovedLink& moved, DescriptorStore* descriptors) {
  const Handle handle = Handle::unpack(moved.handle);
  const auto came = descriptors->links.find(moved.handle);
  if (came == descriptors->links.end()) return malformed("a link without its descriptors");
  if (!is_known(moved.kind) || !is_known(moved.role) || moved.state > LinkState::kOpen) return malformed("a link's kind, role or state");
  if (links_[handle.slot].link) return malformed("two links with one handle");
  MovedDescriptors& fds = came->second;
  const bool is_shm = moved.kind == LinkKind::kShm;
  const bool has_segment = fds.segment.ring_bytes() > 0;
  if (is_shm && (moved.state != LinkState::kOpen || (has_segment && fds.segment.ring_bytes() != moved.ring_bytes))) {
    return malformed("a ring without its segment");
  }
  const bool is_legacy = !moved.legacy.empty();
  if (!is_legacy && moved.partial.size() > kMaxFrameBytes) return malformed("more than a frame as begin of a frame");
  std::unique_ptr<Link> link;
  bool sound = true;
  if (is_legacy) {
    link = restored_legacy_link(moved, std::move(fds.socket));
    if (!link) return malformed("a link of the legacy protocol");
  } else if (is_shm && has_segment) {
    AgentDoorbells bells;
    bells.eventfd = std::move(fds.eventfd);
    bells.pipe_write = std::move(fds.pipe_write);
    auto shm = std::make_unique<ShmLink>(std::move(fds.socket), std::move(fds.segment), std::move(bells), &arena_,
                                         options_.max_outbound_bytes);
    sound = shm->restore(moved.in_position, moved.out_position, moved.queue);
    link = std::move(shm);
  } else {
    // Of a ring that cannot be used the socket is left, only to be closed; what it had published may have run.
    sound = !is_shm;
    if (is_shm) moved.queue.clear();
    if (moved.queue.size() > moved.out_position) return malformed("more queued than was ever appended");
    auto stream = std::make_unique<StreamLink>(is_shm ? LinkKind::kUnix : moved.kind, moved.role,
                                               std::make_unique<PlainChannel>(std::move(fds.socket)), &arena_, options_.max_outbound_bytes);
    stream->restore(moved.partial, moved.queue, moved.out_position);
    link = std::move(stream);
  }
  link->role = moved.role;
  link->state = moved.state;
  link->handle = handle;
  link->app = std::move(moved.app);
  link->peer = std::move(moved.peer);
  link->reason = std::move(moved.reason);
  link->uid = moved.uid;
  link->pid = moved.pid;
  link->place = moved.place <= CallerPlace::kHereUnallowed ? moved.place : CallerPlace::kHereUnallowed;
  link->listener = moved.listener;
  link->timer.slot = handle.slot;
  link->since_ns = now_ns_ - duration(moved.age_ns);
  link->drain_then_close = moved.drain_then_close;
  link->hung_up = moved.hung_up;
  link->reported_up = moved.reported_up;
  link->silent_intervals = moved.silent_intervals;
  link->bytes_in_at_last_check = moved.bytes_in_at_last_check;
  link->requests_in = moved.requests_in;
  link->responses_out = moved.responses_out;
  link->frames_in = moved.frames_in;
  link->frames_out = moved.frames_out;
  link->bytes_in = moved.bytes_in;
  link->bytes_out = moved.bytes_out;
  link->miss_tokens = options_.upcalls_per_second_per_link;
  link->miss_tokens_at_ns = now_ns_;
  if (!moved.upstream.empty()) adopt_upstream(link.get(), moved.upstream);
  update_writable(link.get());
  if (moved.timer_ns > 0) timers_.set(&link->timer, now_ns_ + duration(moved.timer_ns));
  count_in(*link);
  links_[handle.slot].generation = handle.generation;
  links_[handle.slot].link = std::move(link);
  // One app that writes nonsense into its ring is no reason to keep the others from moving.
  if (!sound) close_soon(links_[handle.slot].link.get(), "the app's end of its shared memory makes no sense");
  return Unit{};
}

/// The link becomes that of its address. Where no instance is behind that address in this process, or more links lead there than this process
/// makes, it ends with its last request.
void Engine::adopt_upstream(Link* link, const std::string& address) {
  const uint32_t slot = upstreams_.find(address, link->protocol);
  const size_t most = link->protocol == LinkProtocol::kLegacy ? options_.legacy_connections_per_instance : 1;
  if (slot != UINT32_MAX && upstreams_.at(slot).links.size() < most) {
    link->upstream = slot;
    upstreams_.at(slot).links.push_back(link->handle);
    return;
  }
  link->drain_then_close = true;
  link->reason = slot == UINT32_MAX ? "no instance is left behind this address" : "there are more links to this address than may be now";
}

/// Counts go on where they were; what this process has no flow or instance for is left out.
void Engine::import_accounts(const EngineState& state) {
  auto counters = std::bit_cast<std::array<uint64_t, sizeof(EngineCounters) / sizeof(uint64_t)>>(counters_);
  for (size_t i = 0; i < std::min(counters.size(), state.counters.size()); i++) counters[i] += state.counters[i];
  counters_ = std::bit_cast<EngineCounters>(counters);
  legacy_account_.refused += state.legacy_refused;
  legacy_account_.saw_message(state.largest_legacy_message_bytes);
  for (const FlowState& moved : state.flows) {
    const Flow* flow = flows_.get(flows_.find(moved.key));
    if (flow == nullptr) continue;
    FlowDetail& detail = flows_.detail(*flow);
    detail.requests += moved.requests;
    for (size_t i = 0; i < std::min(detail.by_status.size(), moved.by_status.size()); i++) detail.by_status[i] += moved.by_status[i];
    if (moved.buckets.empty()) continue;
    if (!detail.latency) detail.latency = std::make_unique<Sketch>();
    for (size_t i = 0; i + 1 < moved.buckets.size(); i += 2) {
      if (moved.buckets[i] >= Sketch::kBuckets) continue;
      detail.latency->add_bucket(static_cast<uint32_t>(moved.buckets[i]), static_cast<uint32_t>(moved.buckets[i + 1]));
    }
    detail.latency->add_sum_us(moved.latency_sum_us);
  }
  for (const InstanceState& moved : state.instances) {
    const uint32_t slot = clusters_.find_instance(moved.id);
    if (slot == UINT32_MAX) continue;
    Instance& instance = clusters_.instance(slot);
    instance.requests += moved.requests;
    instance.failures += moved.failures;
    instance.draining = moved.draining;
    instance.latency_us = static_cast<float>(moved.latency_us);
  }
}

Result<Unit> Engine::import_pendings(const EngineState& state) {
  uint32_t slots = 0;
  for (const PendingState& moved : state.pendings) slots = std::max(slots, moved.slot + 1);
  if (slots > kMaxPendingSlots) return malformed("a pending's slot");
  pending_.grow(slots);
  for (const PendingState& moved : state.pendings) {
    Link* down = find_link(Handle::unpack(moved.downstream));
    Link* up = find_link(Handle::unpack(moved.upstream));
    if (down == nullptr || up == nullptr) return malformed("a pending without its links");
    if (moved.flow > state.flows.size()) return malformed("a pending's flow");
    if (!pending_.restore(moved.slot, moved.generation, down->handle, moved.downstream_id, &down->down)) {
      return malformed("two pendings in one slot");
    }
    pending_.attach_upstream(moved.slot, up->handle, &up->up);
    Pending& p = pending_.at(moved.slot);
    p.attempt = moved.attempt;
    p.end_position = moved.end_position;
    p.frame_bytes = moved.frame_bytes;
    p.cluster = moved.cluster;
    p.instance = moved.instance_id == 0 ? UINT32_MAX : clusters_.find_instance(moved.instance_id);
    if (p.instance != UINT32_MAX) clusters_.instance(p.instance).in_flight++;
    if (moved.flow > 0) p.flow = flows_.find(state.flows[moved.flow - 1].key);
    p.started_ns = now_ns_ - duration(moved.age_ns);
    p.streamed = moved.streamed;
    pending_.note(moved.slot).set({moved.method, moved.trace_id});
    if (!restore(&p.request, moved.request) || !restore(&p.reply, moved.reply)) return malformed("a body's credit");
    p.sender = {down->handle.slot, moved.sender_app};
    if (p.request.open) up->shares.begin_stream(p.sender);
    if (p.reply.open) down->shares.begin_stream({up->handle.slot});
    timers_.set(&p.timer, now_ns_ + duration(moved.left_ns));
  }
  pending_.restored(state.pending_generation);
  for (const LinkSlot& slot : links_) {
    if (slot.link) share_imported_queue(slot.link.get());
  }
  return Unit{};
}

void Engine::resume_imported() {
  now_ns_ = clock_->now_ns();
  for (LinkSlot& slot : links_) {
    Link* link = slot.link.get();
    if (link == nullptr) continue;
    touch(link);
    if (link->read_again) continue;
    link->read_again = true;
    read_again_.push_back(link->handle);
  }
  std::vector<ParkedState> parked;
  parked.swap(imported_parked_);
  for (const ParkedState& waiting : parked) resume_parked(waiting);
  for (uint32_t slot = 0; slot < listeners_.size(); slot++) accept_all(slot);
  finish_turn();
}

/// Asks again about a request that waited for a decision: nobody here has heard of it. One that waited for an instance goes on doing so.
void Engine::resume_parked(const ParkedState& parked) {
  const int64_t arrived_ns = now_ns_ - duration(parked.age_ns);
  uint8_t* const bytes = arena_.take(parked.frames.size());
  std::memcpy(bytes, parked.frames.data(), parked.frames.size());
  for (size_t at = 0; at < parked.frames.size();) {
    Link* link = find_link(Handle::unpack(parked.link));
    if (link == nullptr || link->closing_soon) return;
    FixedPart fixed;
    const char* problem = nullptr;
    if (split_frame(bytes + at, parked.frames.size() - at, &fixed, &problem) != Split::kFrame) return;
    Frame frame = frame_at(bytes + at, fixed);
    at += frame.bytes();
    if (frame.fixed.type == FrameType::kChunk) {
      on_chunk(link, frame);
      continue;
    }
    HeaderView view;
    if (parse_header(frame.header(), frame.header_bytes(), &view) != nullptr) return;  // it was accepted before
    const Direction direction = link->role == LinkRole::kApp ? Direction::kOutbound : Direction::kInbound;
    if (clusters_.find(parked.cluster) != nullptr) {
      const FlowRef flow = flows_.lookup(direction, view, frame.header(), frame.header_bytes()).ref;
      forward(link->handle, frame, flow, parked.cluster, deadline_of(frame, 0, arrived_ns), arrived_ns, 0, RequestName::of(view));
    } else if (parked.kind == UpcallKind::kControl) {
      park(link, frame, direction, UpcallKind::kControl, {}, {}, deadline_of(frame, 0, arrived_ns));
    } else {
      route(link, frame, direction, view, arrived_ns, false);
    }
  }
}

}  // namespace ringside
