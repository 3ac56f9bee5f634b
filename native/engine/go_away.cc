// Going away without losing a request: go-aways to others and their acknowledgements, those of others, and what others are told when an
// app that serves is suddenly gone.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"
#include "native/engine/engine.h"
#include "native/link/socket.h"

namespace ringside {

namespace {
constexpr uint32_t kMaxGoAwaysPerSecond = 1000;
/// Go-aways for services that ended with their app, at most; the rest is told by the registry.
constexpr uint32_t kMaxTurnAwaysPerSecond = 100;
/// The id of a go-away whose acknowledgement nobody waits for.
constexpr uint64_t kNoRound = UINT64_MAX;

/// The header of a go-away; an empty name means all services. Nothing for a name that no request can carry.
std::optional<std::string> go_away_header(std::string_view service) {
  if (service.empty()) return std::string();
  uint8_t bytes[kMaxNameBytes + 16];
  const Result<size_t> length = append_field(bytes, 0, sizeof bytes, 1, service);
  if (!length) return std::nullopt;
  return std::string(reinterpret_cast<const char*>(bytes), length.value());
}

/// Both ends of a connection over TCP: who opened it, and where it leads.
std::string ends_of(const std::string& from, const std::string& to) { return from + ">" + to; }
}  // namespace

/// Both ends of each connection that this agent opened, to another or to itself; sorted.
std::vector<std::string> Engine::ends_of_upstream_links() const {
  std::vector<std::string> ends;
  for (const LinkSlot& entry : links_) {
    const Link* const link = entry.link.get();
    if (link == nullptr || link->role != LinkRole::kUpstream || link->protocol != LinkProtocol::kMesh) continue;
    ends.push_back(ends_of(own_address(link->socket_fd()), peer_address(link->socket_fd())));
  }
  std::sort(ends.begin(), ends.end());
  return ends;
}

void Engine::on_command(GoAway& command) {
  uint32_t slot = 0;
  while (slot < go_aways_.size() && go_aways_[slot].live) slot++;
  if (slot == go_aways_.size()) {  // TypeScript waits for rounds to end, so this says that it did not
    counters_.stale_decisions++;
    events_.add(EventType::kGoAwayDone, [&](ByteWriter& out) {
      out.u32(command.id);
      out.u32(0);
      out.u32(live_links_);
    });
    return;
  }
  GoAwayRound& round = go_aways_[slot];
  round.id = command.id;
  round.live = true;
  round.waiting = round.asked = 0;
  const uint64_t ack_id = (uint64_t{command.id} << 8) | slot;
  const std::optional<std::string> header = go_away_header(command.service);
  const bool spares_itself = command.service.empty() && !command.apps;
  const std::vector<std::string> opened = spares_itself ? ends_of_upstream_links() : std::vector<std::string>{};
  for (LinkSlot& entry : links_) {
    Link* link = entry.link.get();
    if (!header || link == nullptr || link->closing_soon || link->state != LinkState::kOpen) continue;
    if (link->role != LinkRole::kPeer && !(command.apps && link->role == LinkRole::kApp)) continue;
    if (!opened.empty() && std::binary_search(opened.begin(), opened.end(), ends_of(link->peer, own_address(link->socket_fd())))) continue;
    if (link->protocol == LinkProtocol::kLegacy) {
      // It has no word for this and acknowledges nothing: when all of the agent goes, its connection ends between two requests.
      if (command.service.empty()) append_control(link, {.type = FrameType::kGoAway});
      continue;
    }
    append_control(link, {.type = FrameType::kGoAway, .request_id = ack_id}, *header);
    link->go_away_rounds |= 1u << slot;
    round.waiting++;
    round.asked++;
  }
  timers_.set(&round.timer, now_ns_ + command.timeout_ms * kNsPerMs);
  if (round.waiting == 0) go_away_settled(slot);
}

/// Tells the other agents of services that nobody here serves any more now that this link is gone. Until the registry has told them
/// they would go on asking, and a refusal is so quick that their balancers take this agent for the least busy one; TypeScript
/// asks them too, but may be busy. To be called before the callers hear of the requests that the link takes with it, because
/// each of them may have a next one.
void Engine::turn_away(const Link& gone) {
  const auto serves = [&](const Cluster& cluster, auto&& matches) {
    return cluster.direction == Direction::kInbound &&
           std::any_of(cluster.instances.begin(), cluster.instances.end(),
                       [&](uint32_t slot) { return matches(clusters_.instance(slot)); });
  };
  std::vector<std::string_view> services;
  clusters_.for_each([&](const Cluster& cluster) {
    if (serves(cluster, [&](const Instance& i) { return i.local && i.link == gone.handle; })) services.push_back(cluster.service);
  });
  if (services.empty()) return;
  std::sort(services.begin(), services.end());  // a service has a cluster for each group and version that was asked for
  services.erase(std::unique(services.begin(), services.end()), services.end());
  clusters_.for_each([&](const Cluster& cluster) {
    const auto served_on = [&](const Instance& i) {
      if (!i.local) return true;
      const Link* const link = find_link(i.link);
      return link != nullptr && !link->closing_soon && !i.draining;
    };
    const auto at = std::lower_bound(services.begin(), services.end(), cluster.service);
    if (at != services.end() && *at == cluster.service && serves(cluster, served_on)) services.erase(at);
  });
  if (now_ns_ - turn_aways_since_ns_ >= 1000 * kNsPerMs) {
    turn_aways_since_ns_ = now_ns_;
    turn_aways_ = 0;
  }
  for (const std::string_view service : services) {
    const std::optional<std::string> header = go_away_header(service);
    if (!header) continue;
    if (++turn_aways_ > kMaxTurnAwaysPerSecond) return;
    for (LinkSlot& entry : links_) {
      Link* const link = entry.link.get();
      if (link == nullptr || link->role != LinkRole::kPeer || link->protocol == LinkProtocol::kLegacy) continue;
      if (link->closing_soon || link->state != LinkState::kOpen) continue;
      append_control(link, {.type = FrameType::kGoAway, .request_id = kNoRound}, *header);
    }
  }
}

void Engine::go_away_settled(uint32_t slot) {
  GoAwayRound& round = go_aways_[slot];
  timers_.clear(&round.timer);
  for (LinkSlot& entry : links_) {
    if (entry.link) entry.link->go_away_rounds &= ~(1u << slot);
  }
  round.live = false;
  events_.add(EventType::kGoAwayDone, [&](ByteWriter& out) {
    out.u32(round.id);
    out.u32(round.asked - round.waiting);
    out.u32(round.waiting);
  });
}

void Engine::on_go_away_ack(Link* link, const Frame& frame) {
  const uint32_t slot = static_cast<uint32_t>(frame.fixed.request_id & 0xFF);
  if (slot >= go_aways_.size() || !(link->go_away_rounds & (1u << slot))) return;
  if (go_aways_[slot].id != frame.fixed.request_id >> 8) return;
  link->go_away_rounds &= ~(1u << slot);
  if (--go_aways_[slot].waiting == 0) go_away_settled(slot);
}

/// The peer asks for no new requests. The ack goes behind all that were sent, so it tells the peer that no more come.
void Engine::on_go_away(Link* link, const Frame& frame) {
  HeaderView view;
  if (const char* problem = parse_header(frame.header(), frame.header_bytes(), &view)) {
    violation(link, problem);
    return;
  }
  // Each looks through all clusters, and an honest peer has few rounds under way at a time.
  if (now_ns_ - link->go_aways_since_ns >= 1000 * kNsPerMs) {
    link->go_aways_since_ns = now_ns_;
    link->go_aways_in = 0;
  }
  if (++link->go_aways_in > kMaxGoAwaysPerSecond) {
    violation(link, "too many go-aways in a second");
    return;
  }
  if (link->role == LinkRole::kUpstream) {
    const uint32_t upstream = link->upstream;
    clusters_.drain(view.service, [&](const Instance& i) { return !i.local && i.upstream == upstream; });
  } else if (link->role == LinkRole::kApp) {
    const Handle handle = link->handle;
    clusters_.drain(view.service, [&](const Instance& i) { return i.local && i.link == handle; });
  }
  append_control(link, {.type = FrameType::kGoAwayAck, .request_id = frame.fixed.request_id});
  if (link->role == LinkRole::kUpstream && view.service.empty()) {
    link->drain_then_close = true;
    link->reason = "the other agent is going away";
    touch(link);
  }
}

}  // namespace ringside
