// How links end: silence, violations, and what becomes of everything that a link had to do with.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "native/engine/engine.h"
#include "native/link/stream_link.h"

namespace ringside {

namespace {
constexpr int64_t kPartingNs = 1'000 * kNsPerMs;
constexpr size_t kMaxPartingBytes = 64 * 1024;

/// Throws away what came on a socket. True: it has ended, or more came than anybody has to listen to.
bool discard(int fd, size_t* discarded_bytes) {
  for (;;) {
    uint8_t unheard[4096];
    const ssize_t got = recv(fd, unheard, sizeof unheard, MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno != EAGAIN && errno != EWOULDBLOCK;
    *discarded_bytes += static_cast<size_t>(got);
    if (got == 0 || *discarded_bytes > kMaxPartingBytes) return true;
  }
}
}  // namespace

void Engine::on_link_timer(Link* link) {
  if (link->state == LinkState::kConnecting) {
    close_soon(link, "connecting to " + link->peer + " took longer than timeouts.connectMs");
    return;
  }
  if (link->state != LinkState::kOpen) {
    close_soon(link, "the peer did not finish its handshake in time");
    return;
  }
  constexpr uint8_t kSilentIntervals = 3;
  if (link->bytes_in != link->bytes_in_at_last_check) {
    link->silent_intervals = 0;
  } else if (++link->silent_intervals >= kSilentIntervals) {
    close_soon(link, "the peer has been silent for three keep-alive intervals");
    return;
  } else {
    append_control(link, {.type = FrameType::kPing, .request_id = link->silent_intervals});
  }
  link->bytes_in_at_last_check = link->bytes_in;
  timers_.set(&link->timer, now_ns_ + options_.keepalive_ms * kNsPerMs);
}

void Engine::violation(Link* link, const char* reason) {
  counters_.protocol_violations++;
  link->condemned = true;
  close_soon(link, std::string("protocol violation: ") + reason);
}

/// Ends a link at the end of this turn; from now on nothing is read from it or sent to it.
void Engine::close_soon(Link* link, std::string reason) {
  if (link->closing_soon) return;
  link->closing_soon = true;
  link->reason = std::move(reason);
  closing_.push_back(link->handle);
}

void Engine::destroy_link(Link* link) {
  counters_.links_closed++;
  timers_.clear(&link->timer);
  epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, link->socket_fd(), nullptr);
  if (link->state == LinkState::kClosing) {
    part_from(static_cast<StreamLink*>(link)->release_fd());
  } else {
    // Closing alone would not tell the peer while a process that handed over to this one still holds a duplicate.
    ::shutdown(link->socket_fd(), SHUT_RDWR);
  }
  if (link->doorbell_fd() >= 0) epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, link->doorbell_fd(), nullptr);
  if (link->upstream != UINT32_MAX) {
    Upstream& upstream = upstreams_.at(link->upstream);
    if (std::erase(upstream.links, link->handle) > 0) {
      // A link that never opened or broke counts against its address; one that was drained does not, nor one to an old server that has
      // answered: what it does wrong on one connection is no reason to lose all of its calls.
      if (!link->drain_then_close && !link->answered) {
        const bool was_open = link->state == LinkState::kOpen;
        if (!was_open) counters_.connect_failures++;
        upstream_failed(link->upstream, link->reason, was_open ? now_ns_ - link->since_ns : 0);
      }
    }
  }
  if (link->role == LinkRole::kApp) turn_away(*link);
  while (link->up.head != kNoPending) lose_upstream(link, link->up.head);
  while (link->down.head != kNoPending) {
    const uint32_t slot = link->down.head;
    cancel_upstream(slot, Code::kCancelled);
    close_pending(slot, Code::kCancelled);
  }
  stop_waiting_of(link->handle);
  for (uint32_t slot = 0; parked_.holds(link->handle) && slot < parked_.capacity(); slot++) {
    HeldRequest& parked = parked_.at(slot);
    if (!parked.live || !(parked.downstream == link->handle)) continue;
    timers_.clear(&parked.timer);
    count(parked.flow, static_cast<uint8_t>(Code::kCancelled), now_ns_ - parked.arrived_ns);
    parked_.remove(slot);
  }
  for (uint32_t round = 0; round < go_aways_.size(); round++) {
    // A link that is gone sends no requests either.
    if (link->go_away_rounds & (1u << round) && --go_aways_[round].waiting == 0) go_away_settled(round);
  }
  count_out(*link);

  if (giver_) giver_->link_ends(link);
  LinkSlot& slot = links_[link->handle.slot];
  const Handle handle = link->handle;
  if (link->reported_up) {
    down_unreported_.push_back({handle, side_of(*link), link->reason});  // the slot is free again once this was told
  } else {
    std::erase(up_unreported_, handle);  // else links that come and go unheard would pile up in it
    free_slot(handle.slot, side_of(*link));
  }
  slot.link.reset();
  slot.generation++;
}

/// Ends a connection whose peer was refused, in words that it can still read: closing while it writes its hello would be a reset, which
/// overtakes them. So this side only writes no more, and what comes is thrown away until the peer closes; for a while.
void Engine::part_from(UniqueFd fd) {
  ::shutdown(fd.get(), SHUT_WR);
  size_t discarded_bytes = 0;
  if (discard(fd.get(), &discarded_bytes)) return;
  if (Parting* const parting = keep_parting(&fd)) parting->discarded_bytes = discarded_bytes;
}

/// Takes a connection among those that are parted from. Null, and it stays the caller's: there is no room.
Engine::Parting* Engine::keep_parting(UniqueFd* fd) {
  const auto parting = std::find_if(partings_.begin(), partings_.end(), [](const Parting& at) { return !at.fd.valid(); });
  if (parting == partings_.end()) return nullptr;
  const auto slot = static_cast<uint32_t>(parting - partings_.begin());
  if (!poll_add(fd->get(), EPOLLIN | EPOLLRDHUP, poll_data(PollTag::kParting, slot))) return nullptr;
  parting->fd = std::move(*fd);
  parting->discarded_bytes = 0;
  parting->refusal = {};
  timers_.set(&parting->timer, now_ns_ + kPartingNs);
  return &*parting;
}

void Engine::hear_out(uint32_t slot) {
  Parting& parting = partings_[slot];
  if (!parting.fd.valid()) return;
  if (!parting.refusal.text.empty()) {
    uint8_t first;
    const bool nothing_came = recv(parting.fd.get(), &first, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
    if (nothing_came) return;
    tell_refusal(parting.fd.get(), parting.refusal);
    ::shutdown(parting.fd.get(), SHUT_WR);
    parting.refusal = {};
  }
  if (discard(parting.fd.get(), &parting.discarded_bytes)) end_parting(&parting);
}

void Engine::end_parting(Parting* parting) {
  timers_.clear(&parting->timer);
  if (!parting->refusal.text.empty()) tell_refusal(parting->fd.get(), parting->refusal);
  parting->refusal = {};
  parting->fd.reset();
}

}  // namespace ringside
