#include "native/engine/engine.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <climits>


namespace ringside {

namespace {

constexpr int kEventsPerWait = 256;
constexpr int kUnreportedWaitMs = 20;
constexpr size_t kArenaBytes = 1 << 20;
constexpr size_t kFlushEarlyBytes = 512 * 1024;
constexpr int kMostLooks = 256;
constexpr size_t kReadBudgetBytes = 256 * 1024;

}  // namespace

Engine::Engine(EngineOptions options, const Clock* clock, EventMailbox* mailbox, std::function<void()> wake)
    : options_(std::move(options)),
      clock_(clock),
      mailbox_(mailbox),
      wake_(std::move(wake)),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
      now_ns_(clock->now_ns()),
      random_(options_.seed),
      arena_(kArenaBytes),
      legacy_account_(options_.max_legacy_bytes),
      link_shares_(std::min(options_.max_links, kMaxHandleSlots - 1)),
      flows_(options_.max_flows, options_.seed),
      clusters_(options_.max_clusters, this),
      pending_(options_.max_pending, options_.seed),
      parked_(options_.max_parked, options_.max_parked_bytes),
      waiting_(options_.max_waiting, options_.max_waiting_bytes),
      busy_poll_(int64_t{options_.busy_poll_us} * 1000) {
  options_.max_links = std::min(options_.max_links, kMaxHandleSlots - 1);
  for (uint32_t i = 0; i < go_aways_.size(); i++) {
    go_aways_[i].timer.kind = TimerKind::kGoAway;
    go_aways_[i].timer.slot = i;
  }
  for (uint32_t i = 0; i < partings_.size(); i++) {
    partings_[i].timer.kind = TimerKind::kParting;
    partings_[i].timer.slot = i;
  }
  if (!epoll_.valid() || !wake_fd_.valid()) {
    init_error_ = "no descriptor for the engine's loop: raise the limit on open files";
    return;
  }
  poll_add(wake_fd_.get(), EPOLLIN, poll_data(PollTag::kWake));
}

Engine::~Engine() = default;

bool Engine::poll_add(int fd, uint32_t events, uint64_t data) { return poll_edges(epoll_.get(), fd, events, data); }

void Engine::turn(int max_wait_ms) {
  counters_.turns++;
  wait_and_read(max_wait_ms);
  expire_timers();
  finish_turn();
  publish_events();
  if (giver_ || taker_) end_handoff_turn();
}

int Engine::wait_ms(int max_wait_ms) const {
  if (!read_again_.empty() || !dirty_.empty() || !closing_.empty()) return 0;
  int64_t next_ns = timers_.next_ns();
  if (listeners_paused_) next_ns = std::min(next_ns, listeners_resume_ns_);
  // Held back while the mailbox was full, and nobody tells us when it was read.
  const bool links_unreported = !up_unreported_.empty() || !down_unreported_.empty();
  if (links_unreported) max_wait_ms = max_wait_ms < 0 ? kUnreportedWaitMs : std::min(max_wait_ms, kUnreportedWaitMs);
  if (next_ns == INT64_MAX) return max_wait_ms;
  // Rounded up: waking just before a deadline would only mean waking twice.
  const int64_t ms = std::clamp<int64_t>((next_ns - clock_->now_ns() + kNsPerMs - 1) / kNsPerMs, 0, INT_MAX);
  return max_wait_ms < 0 ? static_cast<int>(ms) : static_cast<int>(std::min<int64_t>(ms, max_wait_ms));
}

/// Fills `events` and sets the time. Looks for a while before it sleeps where that has been worthwhile.
int Engine::wait_for_events(epoll_event* events, int ms) {
  if (ms == 0 || !busy_poll_.enabled()) {
    const int n = epoll_wait(epoll_.get(), events, kEventsPerWait, ms);
    now_ns_ = clock_->now_ns();
    return n;
  }
  const int64_t begin_ns = clock_->now_ns();
  const bool under_way = pending_.size() > 0;
  int n = 0;
  if (const int64_t longest_ns = busy_poll_.before_wait(under_way); longest_ns > 0) {
    counters_.busy_polls++;
    // Bounded in looks too: a clock may stand still.
    for (int looks = 0; looks < kMostLooks && n == 0 && clock_->now_ns() - begin_ns < longest_ns; looks++) {
      n = epoll_wait(epoll_.get(), events, kEventsPerWait, 0);
      if (n == 0) sched_yield();  // whoever is ready to run on this core goes first
    }
    if (n > 0) counters_.busy_poll_hits++;
  }
  if (n == 0) n = epoll_wait(epoll_.get(), events, kEventsPerWait, ms);
  now_ns_ = clock_->now_ns();
  busy_poll_.waited(under_way, now_ns_ - begin_ns);
  return n;
}

void Engine::wait_and_read(int max_wait_ms) {
  epoll_event events[kEventsPerWait];
  const int n = wait_for_events(events, wait_ms(max_wait_ms));

  reading_.swap(read_again_);
  for (const Handle handle : reading_) {
    if (Link* link = find_link(handle)) {
      link->read_again = false;
      read_link(handle);
    }
  }
  reading_.clear();

  for (int i = 0; i < n; i++) {
    const PollTag tag = poll_tag(events[i].data.u64);
    const uint64_t rest = poll_rest(events[i].data.u64);
    if (tag == PollTag::kListener) {
      accept_all(static_cast<uint32_t>(rest));
      continue;
    }
    if (tag == PollTag::kWake) continue;
    if (tag == PollTag::kParting) {
      hear_out(static_cast<uint32_t>(rest));
      continue;
    }
    if (tag == PollTag::kHandoff) {
      if (giver_) giver_->on_readable();
      if (taker_) taker_->on_readable();
      continue;
    }
    Link* link = find_link(Handle::unpack(rest));
    if (link == nullptr || link->closing_soon) continue;
    if (link->state == LinkState::kConnecting) {
      on_connected(link);
      if (link->closing_soon || link->state == LinkState::kConnecting) continue;
    }
    if (tag == PollTag::kSocket && link->kind == LinkKind::kShm) {
      on_shm_socket(link);
      continue;
    }
    if (tag == PollTag::kSocket && events[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) link->hung_up = true;
    if (events[i].events & EPOLLOUT || tag == PollTag::kDoorbell) touch(link);
    if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) read_link(link->handle);
  }

  if (listeners_paused_ && now_ns_ >= listeners_resume_ns_) {
    listeners_paused_ = false;
    for (uint32_t i = 0; i < listeners_.size(); i++) {
      if (listeners_[i].live && listeners_[i].paused) {
        listeners_[i].paused = false;
        accept_all(i);
      }
    }
  }
}

/// The socket of a shared-memory link carries nothing after the handshake: its end is the app's end.
void Engine::on_shm_socket(Link* link) {
  uint8_t byte;
  const ssize_t got = recv(link->socket_fd(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got > 0) {
    violation(link, "bytes on the socket of a shared-memory link");
    return;
  }
  const Handle handle = link->handle;
  link->peer_closed = true;
  read_link(handle);  // what the app wrote before it died still counts
  link = find_link(handle);
  if (link != nullptr && !link->closing_soon) close_soon(link, "the application closed its socket");
}

void Engine::read_link(Handle handle) {
  // Frames in gather lists point into the arena; before it grows without bound, let them leave.
  if (arena_.used() > kFlushEarlyBytes) finish_turn();
  Link* link = find_link(handle);
  if (link == nullptr || link->closing_soon) return;
  if (link->state == LinkState::kClosing || link->state == LinkState::kConnecting) return;
  touch(link);
  switch (link->read(this, kReadBudgetBytes)) {
    case ReadResult::kDrained:
      break;
    case ReadResult::kMore:
      if (!link->read_again) {
        link->read_again = true;
        read_again_.push_back(link->handle);
      }
      break;
    case ReadResult::kClosed:
      close_soon(link, link->reason);
      break;
    case ReadResult::kLegacy:
      to_legacy_.push_back(link->handle);  // the link cannot change its protocol while it is being read
      break;
    case ReadResult::kViolation:
      violation(link, link->reason.c_str());
      break;
  }
}

void Engine::touch(Link* link) {
  if (link->dirty) return;
  link->dirty = true;
  dirty_.push_back(link->handle);
}

/// Flushes every touched link, lets go of the turn's memory, then ends links that are to close. Ending one may answer
/// others, hence the loop; it ends because every round closes links for good.
void Engine::finish_turn() {
  do {
    flush_links();
    for (const Handle handle : to_shm_) {
      if (Link* link = find_link(handle)) switch_to_shm(link);
    }
    to_shm_.clear();
    for (const Handle handle : to_legacy_) {
      if (Link* link = find_link(handle)) switch_to_legacy(link);
    }
    to_legacy_.clear();
    std::vector<Handle> closing;
    closing.swap(closing_);
    for (const Handle handle : closing) {
      if (Link* link = find_link(handle)) destroy_link(link);
    }
  } while (!dirty_.empty() || !closing_.empty());
  arena_.reset();
}

void Engine::flush_links() {
  // Doorbells only after all bytes are on their way: a record must not be released while a gather list points into it.
  for (size_t i = 0; i < dirty_.size(); i++) {
    Link* link = find_link(dirty_[i]);
    if (link == nullptr) continue;
    if (!link->flush()) close_soon(link, link->reason);
    if (link->shares.waiting()) link->shares.left(link->outbound_bytes() == 0 ? UINT64_MAX : link->queue_left());
    if (link->state == LinkState::kClosing) close_soon(link, link->reason);
  }
  for (const Handle handle : dirty_) {
    Link* link = find_link(handle);
    if (link == nullptr) continue;
    link->dirty = false;
    if (link->closing_soon) continue;
    update_writable(link);
    if (link->end_turn() && !link->read_again) {
      link->read_again = true;
      read_again_.push_back(handle);
    }
    if (link->drain_then_close && link->up.count == 0) close_soon(link, link->reason);
  }
  dirty_.clear();
}

/// EPOLLOUT only while bytes are queued: on unix sockets it would else wake us each time the peer reads.
void Engine::update_writable(Link* link) {
  if (link->kind == LinkKind::kShm) return;
  const bool wanted = link->wants_writable() || link->state == LinkState::kConnecting;
  if (wanted == link->writable_armed) return;
  epoll_event event{};
  event.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (wanted ? EPOLLOUT : 0u);
  event.data.u64 = poll_data(PollTag::kSocket, link->handle.pack());
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, link->socket_fd(), &event) == 0) link->writable_armed = wanted;
}

void Engine::expire_timers() {
  while (TimerNode* node = timers_.pop_expired(now_ns_)) {
    switch (node->kind) {
      case TimerKind::kPending:
        expire_pending(node->slot);
        break;
      case TimerKind::kParked:
        expire_parked(node->slot);
        break;
      case TimerKind::kWaiting:
        expire_waiting(node->slot);
        break;
      case TimerKind::kWaitingRetry:
        resume_waiting(node->slot);
        break;
      case TimerKind::kLink:
        if (Link* link = links_[node->slot].link.get()) on_link_timer(link);
        break;
      case TimerKind::kGoAway:
        go_away_settled(node->slot);
        break;
      case TimerKind::kParting:
        end_parting(&partings_[node->slot]);
        break;
      case TimerKind::kHandoff:
        if (giver_ && node == &giver_->timer) giver_->expire();
        if (taker_ && node == &taker_->timer) taker_->expire();
        break;
    }
  }
}

bool Engine::on_frame(Link* link, Frame& frame) {
  if (link->closing_soon) return false;
  if (link->state == LinkState::kOpening) {
    return link->role == LinkRole::kUpstream ? on_welcome(link, frame) : on_hello(link, frame);
  }
  switch (frame.fixed.type) {
    case FrameType::kRequest:
    case FrameType::kOneWay:
      return on_request(link, frame);
    case FrameType::kResponse:
      return on_reply(link, frame);
    case FrameType::kCancel:
      if (link->role == LinkRole::kUpstream) break;
      on_cancel(link, frame);
      return true;
    case FrameType::kPing:
      append_control(link, {.type = FrameType::kPong, .request_id = frame.fixed.request_id});
      return true;
    case FrameType::kPong:
      return true;
    case FrameType::kGoAway:
      on_go_away(link, frame);
      return true;
    case FrameType::kGoAwayAck:
      on_go_away_ack(link, frame);
      return true;
    case FrameType::kChunk:
      return on_chunk(link, frame);
    case FrameType::kCredit:
      return on_credit(link, frame);
    case FrameType::kHello:
    case FrameType::kWelcome:
      break;
  }
  violation(link, "a frame of this type may not come from this peer now");
  return false;
}

void Engine::apply(std::vector<Command> commands) {
  now_ns_ = clock_->now_ns();
  for (Command& command : commands) {
    if (let_go_ && !std::holds_alternative<ReadStats>(command)) continue;  // what it is about is another process's now
    std::visit([this](auto& c) { on_command(c); }, command);
  }
  finish_turn();
  publish_events();
}

}  // namespace ringside
