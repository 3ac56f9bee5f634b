// How links begin that others open: accept, hello, and the switch to shared memory.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "native/base/errno_text.h"
#include "native/base/secret.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"
#include "native/engine/engine.h"
#include "native/fd/scm_rights.h"
#include "native/link/shm_link.h"
#include "native/link/stream_link.h"
#include "native/shm/layout.h"

namespace ringside {

namespace {
constexpr uint32_t kLinkEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;
constexpr int kAcceptsPerTurn = 64;
constexpr int64_t kListenerPauseNs = 100 * kNsPerMs;
}  // namespace

void Engine::accept_all(uint32_t listener_slot) {
  if (listener_slot >= listeners_.size()) return;
  Listener& listener = listeners_[listener_slot];
  if (!listener.live || listener.paused) return;
  for (int i = 0; i < kAcceptsPerTurn; i++) {
    const bool is_successor = listener.role == LinkRole::kSuccessor;
    UniqueFd fd;
    // What was lent to a takeover is not for whoever else waits.
    if (reserve_.lent() && !is_successor) errno = EMFILE;
    else fd.reset(accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid() && is_successor && !reserve_.lent() && (errno == EMFILE || errno == ENFILE)) {
      reserve_.lend();
      continue;
    }
    if (!fd.valid()) {
      const int problem = errno;
      if (problem == EINTR || problem == ECONNABORTED) continue;
      if (is_successor && !giver_ && reserve_.lent()) reserve_.take_back();
      if (problem != EAGAIN && problem != EWOULDBLOCK) {
        // Out of descriptors or memory: what waits in the backlog is taken when there are some again.
        counters_.accept_failures++;
        report_listener(&listener, std::string("cannot accept connections: ") + errno_text(problem));
        listener.paused = true;
        listeners_paused_ = true;
        listeners_resume_ns_ = now_ns_ + kListenerPauseNs;
      }
      return;
    }
    report_listener(&listener, {});
    if (is_successor) {
      accept_successor(std::move(fd));
      continue;
    }
    const bool is_unix = listener.kind == LinkKind::kUnix;
    if (!is_unix) tune_tcp(fd.get(), options_.keepalive_ms * 3);
    const Caller caller = identify(listener, fd.get());
    const bool may_connect = caller.refusal.code == Code::kOk;
    if (!is_unix && !may_connect) {
      turn_off(std::move(fd), caller.refusal);
      continue;
    }
    if (may_connect) {  // who may not takes nobody's place
      const std::string bound = make_room(listener.kind, listener.role, caller.uid, caller.peer);
      if (!bound.empty()) {
        counters_.links_refused++;
        tell_refusal(fd.get(), {Code::kResourceExhausted, bound});
        part_from(std::move(fd));
        continue;
      }
    }
    auto fresh = std::make_unique<StreamLink>(listener.kind, listener.role, std::make_unique<PlainChannel>(std::move(fd)),
                                              &arena_, options_.max_outbound_bytes);
    fresh->peer = caller.peer;
    fresh->listener = listener.id;
    fresh->uid = caller.uid;
    fresh->pid = caller.pid;
    fresh->place = caller.place;
    Link* link = add_link(std::move(fresh));
    if (link == nullptr) continue;  // closed at once: it cannot be polled
    timers_.set(&link->timer, now_ns_ + options_.open_timeout_ms * kNsPerMs);
    if (!may_connect) refuse(link, caller.refusal.code, caller.refusal.text);
  }
  // More may wait: with edge-triggered polling nobody would tell us again.
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.u64 = poll_data(PollTag::kListener, listener_slot);
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, listener.fd.get(), &event);
}

Link* Engine::add_link(std::unique_ptr<Link> link) {
  uint32_t slot;
  if (!has_slot() || !link_shares_.has_room(side_of(*link))) {
    counters_.links_refused++;
    return nullptr;
  }
  if (!free_links_.empty()) {
    slot = free_links_.back();
    free_links_.pop_back();
  } else {
    slot = static_cast<uint32_t>(links_.size());
    links_.emplace_back();
  }
  Link* added = link.get();
  added->handle = Handle{slot, links_[slot].generation};
  added->timer.slot = slot;
  added->since_ns = now_ns_;
  added->miss_tokens = options_.upcalls_per_second_per_link;
  added->miss_tokens_at_ns = now_ns_;
  const bool connecting = added->state == LinkState::kConnecting;
  const uint32_t events = kLinkEvents | (connecting ? EPOLLOUT : 0u);
  if (!poll_add(added->socket_fd(), events, poll_data(PollTag::kSocket, added->handle.pack()))) {
    free_links_.push_back(slot);
    counters_.links_refused++;
    return nullptr;
  }
  added->writable_armed = connecting;
  links_[slot].link = std::move(link);
  count_in(*added);
  counters_.links_opened++;
  return added;
}

void Engine::refuse(Link* link, Code code, std::string_view text) {
  counters_.links_refused++;
  Frame frame;
  frame.head = arena_.take(kFixedBytes + kMaxNameBytes);
  const size_t header_bytes = encode_status_message(frame.head + kFixedBytes, kMaxNameBytes, text);
  frame.fixed.type = FrameType::kWelcome;
  frame.fixed.status = static_cast<uint8_t>(code);
  frame.fixed.header_bytes = static_cast<uint32_t>(header_bytes);
  encode_fixed(frame.fixed, frame.head);
  frame.head_bytes = kFixedBytes + header_bytes;
  frame.body = frame.head + frame.head_bytes;
  link->append(frame, true);
  link->state = LinkState::kClosing;
  link->reason = text;
  touch(link);
}

bool Engine::on_hello(Link* link, Frame& frame) {
  HeaderView view;
  if (frame.fixed.type != FrameType::kHello) {
    violation(link, "the first frame is not hello");
    return false;
  }
  if (const char* problem = parse_header(frame.header(), frame.header_bytes(), &view)) {
    violation(link, problem);
    return false;
  }
  if (link->kind == LinkKind::kTcp && link->role == LinkRole::kApp && !options_.loopback_token.empty()) {
    const std::string_view token(reinterpret_cast<const char*>(frame.body), frame.body_bytes);
    if (!(frame.fixed.flags & kFlagToken) || !same_secret(token, options_.loopback_token)) {
      refuse(link, Code::kUnauthenticated, "the loopback port asks for a token (loopback.token, RINGSIDE_TOKEN)");
      return false;
    }
  }
  link->app = view.source_app.substr(0, kMaxNameBytes);
  const uint32_t wanted = frame.fixed.value;
  if (wanted == 0) {
    welcome(link, {});
    opened(link);
    return true;
  }
  if (link->kind != LinkKind::kUnix || !options_.shm_enabled || !shm::is_valid_ring_bytes(wanted)) {
    welcome(link, link->kind != LinkKind::kUnix ? "shared memory needs the unix socket"
                  : !options_.shm_enabled       ? "shared memory is switched off in the agent (shm.enabled)"
                                                : "that ring size is not a power of two within the limits");
    opened(link);
    return true;
  }
  // The link cannot change its kind while it is being read.
  link->ring_bytes = std::min(wanted, options_.ring_bytes);
  to_shm_.push_back(link->handle);
  return false;
}

/// Accepts with frames on this socket; `note` says why there is no shared memory where it was asked for.
void Engine::welcome(Link* link, std::string_view note) {
  Frame frame;
  frame.head = arena_.take(kFixedBytes + kMaxNameBytes);
  link->note = note;
  const size_t header_bytes = note.empty() ? 0 : encode_status_message(frame.head + kFixedBytes, kMaxNameBytes, note);
  frame.fixed.type = FrameType::kWelcome;
  frame.fixed.header_bytes = static_cast<uint32_t>(header_bytes);
  encode_fixed(frame.fixed, frame.head);
  frame.head_bytes = kFixedBytes + header_bytes;
  frame.body = frame.head + frame.head_bytes;
  link->append(frame, true);
  touch(link);
}

void Engine::switch_to_shm(Link* link) {
  if (link->closing_soon) return;
  auto* stream = static_cast<StreamLink*>(link);
  const uint32_t ring_bytes = link->ring_bytes;
  if (stream->partial_bytes() > 0) {
    violation(link, "bytes behind a hello that asked for shared memory");
    return;
  }
  Result<Segment> segment = Segment::create(ring_bytes);
  Result<AgentDoorbells> doorbells = AgentDoorbells::create();
  if (!segment || !doorbells) {
    counters_.segments_refused++;
    welcome(link, segment ? doorbells.error().text : segment.error().text);
    opened(link);
    return;
  }
  FixedPart fixed;
  fixed.type = FrameType::kWelcome;
  fixed.value = ring_bytes;
  uint8_t bytes[kFixedBytes];
  encode_fixed(fixed, bytes);
  const int fds[] = {segment.value().fd(), doorbells.value().eventfd.get(), doorbells.value().pipe_read.get()};
  if (send_with_fds(link->socket_fd(), bytes, sizeof bytes, fds, std::size(fds)) != sizeof bytes) {
    close_soon(link, std::string("sending the shared-memory segment failed: ") + errno_text(errno));
    return;
  }
  AgentDoorbells bells = doorbells.take();
  bells.pipe_read.reset();
  auto shm = std::make_unique<ShmLink>(stream->release_fd(), segment.take(), std::move(bells), &arena_,
                                       options_.max_outbound_bytes);
  take_over_facts(*link, shm.get());
  timers_.clear(&link->timer);
  Link* fresh = shm.get();
  links_[link->handle.slot].link = std::move(shm);  // the stream link ends here; its socket lives on
  if (!poll_add(fresh->doorbell_fd(), EPOLLIN, poll_data(PollTag::kDoorbell, fresh->handle.pack()))) {
    close_soon(fresh, std::string("polling the doorbell failed: ") + errno_text(errno));
    return;
  }
  opened(fresh);
  touch(fresh);  // arms the doorbell
}

/// What is known of a peer whose link becomes another.
void Engine::take_over_facts(const Link& from, Link* to) {
  to->handle = from.handle;
  to->app = from.app;
  to->peer = from.peer;
  to->uid = from.uid;
  to->pid = from.pid;
  to->place = from.place;
  to->listener = from.listener;
  to->since_ns = from.since_ns;
  to->miss_tokens = from.miss_tokens;
  to->miss_tokens_at_ns = from.miss_tokens_at_ns;
  to->timer.slot = from.timer.slot;
}

void Engine::opened(Link* link) {
  link->state = LinkState::kOpen;
  up_unreported_.push_back(link->handle);
  // The legacy protocol has no pings of ours: there the kernel's probes have to do.
  if (link->kind == LinkKind::kTcp && link->protocol == LinkProtocol::kMesh) {
    timers_.set(&link->timer, now_ns_ + options_.keepalive_ms * kNsPerMs);
  } else {
    timers_.clear(&link->timer);
  }
}

}  // namespace ringside
