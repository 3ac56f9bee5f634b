// The table of links is shared out among those who open them (link_shares.h), and links of one user or from one address have bounds of their
// own. Whoever accepts or opens a link asks here first. Where there is no room, the connection that has been silent for longest among those
// that compete for it goes: an honest peer says hello at once.
#include <sys/ioctl.h>

#include <algorithm>

#include "native/engine/engine.h"

namespace ringside {

namespace {
/// So long may a peer take to say hello, however crowded it is.
constexpr int64_t kHelloGraceNs = 100 * kNsPerMs;

LinkSide side_of(LinkKind kind, LinkRole role) {
  if (role == LinkRole::kUpstream) return LinkSide::kOwn;
  if (role == LinkRole::kPeer) return LinkSide::kPeers;
  return kind == LinkKind::kTcp ? LinkSide::kTcpApps : LinkSide::kSocketApps;
}

/// From how many on a user's links are shared between the socket and TCP.
constexpr uint32_t kTooFewOfUidToShare = 64;

/// Which of the bounds on links from one place a link counts for.
bool counts_for_address(const Link& link) { return link.kind == LinkKind::kTcp && link.role == LinkRole::kPeer; }

/// Whether a link counts for its user: other agents count by their address.
bool counts_for_uid(const Link& link) { return link.uid != UINT32_MAX && link.role == LinkRole::kApp; }

/// The host of a "host:port".
std::string host_of(const std::string& address) { return address.substr(0, address.rfind(':')); }

const char* name_of(LinkSide side) {
  switch (side) {
    case LinkSide::kSocketApps:
      return "applications on the unix socket";
    case LinkSide::kTcpApps:
      return "applications over TCP";
    case LinkSide::kPeers:
      return "other agents";
    case LinkSide::kOwn:
      break;
  }
  return "links of this agent's own";
}

/// Whether bytes came that were not read yet.
bool has_unread(int fd) {
  int bytes = 0;
  return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}
}  // namespace

LinkSide Engine::side_of(const Link& link) { return ringside::side_of(link.kind, link.role); }

bool Engine::has_slot() const { return !free_links_.empty() || links_.size() < options_.max_links; }

void Engine::count_in(const Link& link) {
  live_links_++;
  link_shares_.take(side_of(link));
  if (counts_for_uid(link)) {
    links_of_uid_[link.uid]++;
    if (link.kind == LinkKind::kTcp) tcp_links_of_uid_[link.uid]++;
  }
  if (counts_for_address(link)) links_of_address_[host_of(link.peer)]++;
  if (link.state == LinkState::kOpening && link.role != LinkRole::kUpstream) note_silent(link);
}

/// The link is gone; its place is given back when its slot is free.
void Engine::count_out(const Link& link) {
  live_links_--;
  if (counts_for_uid(link)) {
    if (--links_of_uid_[link.uid] == 0) links_of_uid_.erase(link.uid);
    if (link.kind == LinkKind::kTcp && --tcp_links_of_uid_[link.uid] == 0) tcp_links_of_uid_.erase(link.uid);
  }
  if (!counts_for_address(link)) return;
  const auto it = links_of_address_.find(host_of(link.peer));
  if (--it->second == 0) links_of_address_.erase(it);
}

void Engine::free_slot(uint32_t slot, LinkSide side) {
  free_links_.push_back(slot);
  link_shares_.give_back(side);
}

void Engine::note_silent(const Link& link) {
  std::deque<Handle>& silent = silent_[static_cast<size_t>(side_of(link))];
  const auto has_spoken = [this](Handle handle) {
    const Link* const known = find_link(handle);
    return known == nullptr || known->state != LinkState::kOpening;
  };
  while (!silent.empty() && has_spoken(silent.front())) silent.pop_front();
  if (silent.size() >= options_.max_links) std::erase_if(silent, has_spoken);
  silent.push_back(link.handle);
}

/// Ends the connection that has said nothing for longest among those of this side that `competes` names. False: there is none.
template <typename Competes>
bool Engine::end_silent(LinkSide side, Competes competes) {
  for (const Handle handle : silent_[static_cast<size_t>(side)]) {
    Link* const link = find_link(handle);
    if (link == nullptr || link->state != LinkState::kOpening || link->closing_soon) continue;
    if (now_ns_ - link->since_ns < kHelloGraceNs) return false;  // the next ones are younger
    if (!competes(*link) || has_unread(link->socket_fd())) continue;
    counters_.links_crowded_out++;
    tell_refusal(link->socket_fd(), {Code::kResourceExhausted,
                                     "this connection was silent while others wanted its place in the table of links (limits.links)"});
    link->reason = "it was silent while others wanted its place";
    link->state = LinkState::kClosing;
    destroy_link(link);
    return true;
  }
  return false;
}

/// Makes room for a connection that `kind` and `role` of its listener and its user or address describe. Empty: it has room; else the words of
/// the bound that leaves it none.
std::string Engine::make_room(LinkKind kind, LinkRole role, uint32_t uid, const std::string& peer) {
  const LinkSide side = ringside::side_of(kind, role);
  if (role == LinkRole::kPeer) {
    const std::string host = host_of(peer);
    const auto others = links_of_address_.find(host);
    if (others != links_of_address_.end() && others->second >= options_.max_links_per_address &&
        !end_silent(side, [&](const Link& link) { return host_of(link.peer) == host; })) {
      return host + " has " + std::to_string(options_.max_links_per_address) + " links, which is the bound limits.linksPerAddress";
    }
  }
  if (uid != UINT32_MAX && role == LinkRole::kApp) {
    const auto others = links_of_uid_.find(uid);
    if (others != links_of_uid_.end() && others->second >= options_.max_links_per_uid &&
        !end_silent(side, [&](const Link& link) { return counts_for_uid(link) && link.uid == uid; })) {
      return "uid " + std::to_string(uid) + " has " + std::to_string(options_.max_links_per_uid) +
             " links, which is the bound limits.linksPerUid";
    }
  }
  // Whatever a user's processes do over TCP, his applications find the socket open.
  if (uid != UINT32_MAX && side == LinkSide::kTcpApps && options_.max_links_per_uid >= kTooFewOfUidToShare) {
    const auto over_tcp = tcp_links_of_uid_.find(uid);
    if (over_tcp != tcp_links_of_uid_.end() && over_tcp->second >= options_.max_links_per_uid / 2 &&
        !end_silent(side, [&](const Link& link) { return link.uid == uid; })) {
      return "uid " + std::to_string(uid) + " has " + std::to_string(over_tcp->second) +
             " links over TCP, half of limits.linksPerUid: the others are for the unix socket";
    }
  }
  if (has_slot() && link_shares_.has_room(side)) return {};
  if (end_silent(side, [](const Link&) { return true; }) && has_slot() && link_shares_.has_room(side)) return {};
  if (live_links_ >= options_.max_links || !has_slot()) return "the table of links is full (limits.links)";
  return std::string(name_of(side)) + " hold " + std::to_string(link_shares_.held(side)) +
         " links, their share of what is free (limits.links)";
}

}  // namespace ringside
