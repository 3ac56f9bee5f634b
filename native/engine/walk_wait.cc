// A request's stop on its way: it came before the list of its service's instances was read, or it may wait for an instance and none can be
// reached. It goes on when its cluster changes or an address may be tried again, and is answered shortly before its deadline, with the
// reason and as not run, because the caller's own clock would end the call without either.
#include <algorithm>
#include <cstring>

#include "native/codec/mesh_header.h"
#include "native/engine/engine.h"
#include "native/engine/pick.h"

namespace ringside {

namespace {

constexpr int64_t kMostEarlyNs = 100 * kNsPerMs;
constexpr int64_t kEarlyShare = 8;
constexpr int64_t kRetryNs = 1000 * kNsPerMs;      // at the latest: a way may open without the cluster being told anew
constexpr int64_t kRetryPauseNs = 10 * kNsPerMs;   // at the earliest
constexpr size_t kAddressesLookedAt = 16;

/// When a request is answered that has waited in vain.
int64_t give_up_ns(int64_t arrived_ns, int64_t deadline_ns) {
  return deadline_ns - std::min((deadline_ns - arrived_ns) / kEarlyShare, kMostEarlyNs);
}

bool asks_to_wait(const Frame& frame) { return frame.fixed.flags & kFlagWaitForReady; }

}  // namespace

/// Whether a request that finds no instance stays here instead of being refused. Only the caller's own agent lets it wait: at the next one it
/// would be stuck where others may serve it elsewhere.
bool Engine::may_wait(const Cluster& cluster, const Frame& frame) const {
  return cluster.is_awaited() || (asks_to_wait(frame) && cluster.direction == Direction::kOutbound);
}

/// Keeps a private copy of the request until there is an instance.
void Engine::wait_at(const Cluster& cluster, Handle downstream, const Frame& frame, FlowRef flow, int64_t deadline_ns, int64_t arrived_ns) {
  if (!waiting_.has_room(frame.bytes()) || !waiting_.has_share(downstream, 1, frame.bytes()) ||
      !waiting_.has_service_share(cluster.service, 1, frame.bytes())) {
    counters_.refused_waiting_full++;
    count(flow, static_cast<uint8_t>(Code::kResourceExhausted), now_ns_ - arrived_ns);
    reply_to_request(downstream, frame.fixed.request_id, frame.fixed.type,
                     {Code::kResourceExhausted, "too many requests wait for an instance of their service (limits.waiting, limits.waitingBytes)", true});
    return;
  }
  counters_.waited++;
  std::vector<uint8_t> copy(frame.bytes());
  std::memcpy(copy.data(), frame.head, frame.head_bytes);
  if (frame.body_bytes > 0) std::memcpy(copy.data() + frame.head_bytes, frame.body, frame.body_bytes);
  // Counted from its arrival, so that whoever takes over from this process finds the same deadline.
  patch_timeout_ms(copy.data(), static_cast<uint32_t>(std::max<int64_t>(1, (deadline_ns - arrived_ns + kNsPerMs - 1) / kNsPerMs)));
  const uint32_t slot = waiting_.wait(cluster.id, cluster.service, downstream, std::move(copy));
  HeldRequest& held = waiting_.at(slot);
  held.flow = flow;
  held.arrived_ns = arrived_ns;
  held.deadline_ns = deadline_ns;
  timers_.set(&held.timer, give_up_ns(arrived_ns, deadline_ns));
  retry_later(cluster);
}

/// The cluster is looked at again when the first of its addresses may be tried again.
void Engine::retry_later(const Cluster& cluster) {
  TimerNode* const retry = waiting_.retry_timer(cluster.id);
  if (retry == nullptr || retry->armed() || cluster.instances.empty()) return;  // without instances: when there is a list
  int64_t wait_ns = kRetryNs;
  for (size_t i = 0; i < std::min(cluster.instances.size(), kAddressesLookedAt); i++) {
    const Instance& instance = clusters_.instance(cluster.instances[i]);
    if (instance.local || instance.draining) continue;
    wait_ns = std::min(wait_ns, upstreams_.at(instance.upstream).next_attempt_ns - now_ns_);
  }
  timers_.set(retry, now_ns_ + std::max(wait_ns, kRetryPauseNs));
}

/// Lets those go on who can: a cluster has changed, or an address may be tried again.
void Engine::resume_waiting(uint32_t cluster_id) {
  const std::vector<uint32_t> slots = waiting_.at_cluster(cluster_id);
  if (slots.empty()) return;
  Cluster* const cluster = clusters_.find(cluster_id);
  if (cluster != nullptr && cluster->is_awaited()) return;
  const bool reachable = cluster != nullptr && pick_instance(*cluster) != kNoInstance;
  for (const uint32_t slot : slots) {
    const bool stays = cluster != nullptr && !reachable && waiting_.at(slot).frame[kFlagsOffset] & kFlagWaitForReady;
    if (!stays) resume_one(slot);
  }
  if (cluster != nullptr) retry_later(*cluster);
}

void Engine::resume_one(uint32_t slot) {
  const HeldRequest& held = waiting_.at(slot);
  const uint32_t cluster = held.queue;
  const Waited waited{held.flow, held.arrived_ns, held.deadline_ns};
  const Handle downstream = held.downstream;
  const size_t n = held.frame.size();
  uint8_t* const bytes = arena_.take(n);
  std::memcpy(bytes, held.frame.data(), n);
  stop_waiting(slot);
  for (size_t at = 0; at < n;) {
    Link* const link = find_link(downstream);
    if (link == nullptr || link->closing_soon) return;
    FixedPart fixed;
    decode_fixed(bytes + at, &fixed);
    Frame frame = frame_at(bytes + at, fixed);
    at += frame.bytes();
    if (fixed.type == FrameType::kChunk) {
      on_chunk(link, frame);
    } else if (clusters_.find(cluster) == nullptr && !asks_to_wait(frame)) {
      count(waited.flow, static_cast<uint8_t>(Code::kResourceExhausted), now_ns_ - waited.arrived_ns);
      reply_to_request(downstream, fixed.request_id, fixed.type,
                       {Code::kResourceExhausted, "the agent stopped watching this service to make room for others (limits.services)", true});
    } else {
      HeaderView view;
      const bool readable = parse_header(frame.header(), frame.header_bytes(), &view) == nullptr;
      if (clusters_.find(cluster) == nullptr) {  // forgotten, as nobody serves it: it is asked for anew
        if (!readable) continue;
        frame.fixed.timeout_ms = static_cast<uint32_t>(std::max<int64_t>(1, (waited.deadline_ns - now_ns_ + kNsPerMs - 1) / kNsPerMs));
        patch_timeout_ms(frame.head, frame.fixed.timeout_ms);
        route(link, frame, link->role == LinkRole::kApp ? Direction::kOutbound : Direction::kInbound, view, now_ns_, false);
        continue;
      }
      forward(downstream, frame, waited.flow, cluster, waited.deadline_ns, waited.arrived_ns, 0, readable ? RequestName::of(view) : RequestName{});
    }
  }
}

/// Takes a request out of the table, without a word.
void Engine::stop_waiting(uint32_t slot) {
  HeldRequest& held = waiting_.at(slot);
  timers_.clear(&held.timer);
  if (waiting_.is_last(slot)) timers_.clear(waiting_.retry_timer(held.queue));
  waiting_.remove(slot);
}

/// A link is gone, and with it whoever waits for an answer.
void Engine::stop_waiting_of(Handle downstream) {
  for (uint32_t slot = 0; waiting_.holds(downstream) && slot < waiting_.capacity(); slot++) {
    if (waiting_.at(slot).live && waiting_.at(slot).downstream == downstream) stop_waiting(slot);
  }
}

void Engine::expire_waiting(uint32_t slot) {
  counters_.deadlines++;
  const HeldRequest& held = waiting_.at(slot);
  const Handle downstream = held.downstream;
  const uint64_t id = load_u64(held.frame.data() + kRequestIdOffset);
  const auto type = static_cast<FrameType>(held.frame[kTypeOffset]);
  const std::string text = "the deadline passed while the request waited: " + why_waiting(held.queue);
  count(held.flow, static_cast<uint8_t>(Code::kDeadlineExceeded), now_ns_ - held.arrived_ns);
  stop_waiting(slot);
  reply_to_request(downstream, id, type, {Code::kDeadlineExceeded, text, true});
}

std::string Engine::why_waiting(uint32_t cluster_id) {
  const Cluster* const cluster = clusters_.find(cluster_id);
  if (cluster == nullptr) return "its service is not watched any more";
  if (cluster->is_awaited()) return "the instances of " + cluster->service + " are not known yet; " + cluster->awaited;
  if (cluster->instances.empty()) return std::string(kNotRegistered);
  return why_unreachable(*cluster);
}

}  // namespace ringside
