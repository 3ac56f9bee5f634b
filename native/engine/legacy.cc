// Links of the legacy protocol (docs/legacy.md): a connection that turns out to be an old client's, which of the connections to an old server a
// request takes, and links that another process handed over.
#include <algorithm>
#include <string>

#include "native/codec/json.h"
#include "native/engine/engine.h"
#include "native/engine/fair_share.h"
#include "native/link/legacy_callee_link.h"
#include "native/link/legacy_caller_link.h"
#include "native/link/stream_link.h"

namespace ringside {

/// A link to an old client over this channel.
std::unique_ptr<LegacyLink> Engine::legacy_caller(LinkKind kind, LinkRole role, std::unique_ptr<Channel> channel) {
  LegacyCallerLink::Settings settings;
  settings.bounds = legacy_bounds();
  if (role == LinkRole::kApp) settings.token = options_.loopback_token;
  settings.info = [this] { return legacy_info(); };
  return std::make_unique<LegacyCallerLink>(kind, role, std::move(channel), &arena_, std::move(settings));
}

/// The socket and what was read from it go on as a link of the legacy protocol.
void Engine::switch_to_legacy(Link* link) {
  if (link->closing_soon) return;
  auto* const stream = static_cast<StreamLink*>(link);
  std::vector<uint8_t> begin = stream->release_partial();
  std::unique_ptr<LegacyLink> fresh = legacy_caller(link->kind, link->role, stream->release_channel());
  take_over_facts(*link, fresh.get());
  fresh->hung_up = link->hung_up;
  fresh->bytes_in = 0;
  fresh->writable_armed = link->writable_armed;
  fresh->begin_with(std::move(begin));
  timers_.clear(&link->timer);
  Link* const added = fresh.get();
  links_[added->handle.slot].link = std::move(fresh);
  opened(added);
  touch(added);
  added->read_again = true;
  read_again_.push_back(added->handle);
}

/// A link of the legacy protocol as another process knew it. Null: none can be in that state.
std::unique_ptr<Link> Engine::restored_legacy_link(MovedLink& moved, UniqueFd socket) {
  const bool to_server = moved.role == LinkRole::kUpstream;
  const bool can_be = moved.state == LinkState::kOpen || (to_server && moved.state == LinkState::kConnecting);
  if (moved.legacy.size() != 1 || moved.kind == LinkKind::kShm || !can_be) return nullptr;
  auto channel = std::make_unique<PlainChannel>(std::move(socket));
  std::unique_ptr<LegacyLink> link;
  if (to_server) {
    link = std::make_unique<LegacyCalleeLink>(moved.kind, std::move(channel), &arena_, legacy_bounds());
  } else {
    link = legacy_caller(moved.kind, moved.role, std::move(channel));
  }
  if (!link->restore(std::move(moved.legacy.front()), moved.partial, moved.queue)) return nullptr;
  return link;
}

/// Whose request a connection to an old server is busy with; of a one-way request nobody knows.
Sender Engine::sender_under_way(const Link& legacy) const {
  const uint32_t slot = pending_.find_reply(static_cast<const LegacyCalleeLink&>(legacy).id_under_way());
  return slot == kNoPending ? Sender{UINT32_MAX, 0} : pending_.at(slot).sender;
}

/// An idle connection to an old server; else a new one, which null asks for, while there may be more; else the one with the fewest
/// requests waiting. The connections are shared out like anything else (fair_share.h): whoever keeps as many busy as it may have waits behind
/// its own requests, and others find a connection.
Link* Engine::legacy_link_of(const Upstream& upstream, const Link* from, const Frame& request) {
  const Sender sender = from == nullptr ? Sender{} : sender_of(*from, request);
  Link* best = nullptr;
  Link* best_own = nullptr;
  uint32_t busy = 0, of_link = 0, of_app = 0;
  for (const Handle handle : upstream.links) {
    Link* const link = find_link(handle);
    if (link == nullptr || link->closing_soon || link->drain_then_close) continue;
    if (best == nullptr || link->up.count < best->up.count) best = link;
    if (link->up.count == 0) continue;
    busy++;
    const Sender other = sender_under_way(*link);
    if (other.link != sender.link) continue;
    of_link++;
    if (other.app != sender.app) continue;
    of_app++;
    if (best_own == nullptr || link->up.count < best_own->up.count) best_own = link;
  }
  const uint32_t capacity = options_.legacy_connections_per_instance;
  const uint32_t free = capacity - std::min(capacity, busy);
  const bool may_have_more =
      may_take(of_link, 1, free, capacity) && (sender.app == 0 || may_take_within(of_app, of_link, free, capacity));
  if (!may_have_more && best_own != nullptr) return best_own;
  if (best != nullptr && best->up.count == 0) return best;
  if (now_ns_ < upstream.next_attempt_ns) return best;
  return upstream.links.size() < capacity ? nullptr : best;
}

/// What INFO tells an old client of this agent.
std::string Engine::legacy_info() const {
  std::string app(json_string_bytes(options_.app), '\0');
  write_json_string(reinterpret_cast<uint8_t*>(app.data()), options_.app);
  return "{\"server\":\"ringside\",\"app\":" + app + ",\"connections\":" + std::to_string(live_links_) +
         ",\"requests\":" + std::to_string(counters_.requests) + ",\"pending\":" + std::to_string(pending_.size()) + "}";
}

}  // namespace ringside
