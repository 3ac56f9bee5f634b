// How links to other agents and to old servers begin: connecting, the hello, the welcome; and what becomes of an address that cannot be reached
// or that nobody names any more.
#include <cerrno>

#include "native/base/errno_text.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"
#include "native/engine/engine.h"
#include "native/link/legacy_callee_link.h"
#include "native/link/stream_link.h"

namespace ringside {

Link* Engine::connect_upstream(uint32_t slot) {
  Upstream& upstream = upstreams_.at(slot);
  counters_.connects++;
  Result<UniqueFd> socket = start_connect(upstream.socket_address);
  if (!socket) {
    counters_.connect_failures++;
    upstream_failed(slot, socket.error().text, 0);
    return nullptr;
  }
  const LinkKind kind = upstream.socket_address.is_unix() ? LinkKind::kUnix : LinkKind::kTcp;
  if (kind == LinkKind::kTcp) tune_tcp(socket.value().get(), options_.keepalive_ms * 3);
  auto channel = std::make_unique<PlainChannel>(socket.take());
  std::unique_ptr<Link> fresh;
  if (upstream.protocol == LinkProtocol::kLegacy) {
    fresh = std::make_unique<LegacyCalleeLink>(kind, std::move(channel), &arena_, legacy_bounds());
  } else {
    fresh = std::make_unique<StreamLink>(kind, LinkRole::kUpstream, std::move(channel), &arena_, options_.max_outbound_bytes);
  }
  fresh->state = LinkState::kConnecting;
  fresh->peer = upstream.address;
  fresh->upstream = slot;
  Link* link = add_link(std::move(fresh));
  if (link == nullptr) {
    upstream_failed(slot, "the table of links is full (limits.links)", 0);
    return nullptr;
  }
  upstream.links.push_back(link->handle);
  timers_.set(&link->timer, now_ns_ + options_.connect_timeout_ms * kNsPerMs);
  if (upstream.protocol == LinkProtocol::kMesh) greet(link);
  return link;
}

/// The hello is the first thing in the queue; requests follow without waiting for the welcome.
void Engine::greet(Link* link) {
  Frame hello;
  hello.head = arena_.take(kFixedBytes + kMaxHeaderBytes);
  Result<size_t> header = append_field(hello.head + kFixedBytes, 0, kMaxHeaderBytes, 5, options_.app);
  const size_t header_bytes = header ? header.value() : 0;
  hello.fixed.type = FrameType::kHello;
  hello.fixed.header_bytes = static_cast<uint32_t>(header_bytes);
  encode_fixed(hello.fixed, hello.head);
  arena_.give_back(hello.head, kFixedBytes + header_bytes);
  hello.head_bytes = kFixedBytes + header_bytes;
  hello.body = hello.head + hello.head_bytes;
  link->append(hello, true);
}

void Engine::upstream_failed(uint32_t slot, const std::string& why, int64_t was_open_ns) {
  upstreams_.failed(slot, why, was_open_ns, now_ns_, &random_);
  // The end of a link that was open is told as that.
  if (was_open_ns == 0) report_upstream(&upstreams_.at(slot), why);
}

void Engine::on_connected(Link* link) {
  const int error = connect_error(link->socket_fd());
  if (error == EINPROGRESS) return;
  if (error != 0) {
    close_soon(link, "connecting to " + link->peer + " failed: " + errno_text(error));
    return;
  }
  touch(link);
  if (link->protocol == LinkProtocol::kLegacy) {
    if (link->upstream != UINT32_MAX) upstreams_.connected(link->upstream);
    opened(link);
    read_link(link->handle);  // sends what waited
    return;
  }
  link->state = LinkState::kOpening;
  timers_.set(&link->timer, now_ns_ + options_.open_timeout_ms * kNsPerMs);
}

bool Engine::on_welcome(Link* link, Frame& frame) {
  if (frame.fixed.type != FrameType::kWelcome) {
    violation(link, "the first frame is not welcome");
    return false;
  }
  if (frame.fixed.status != 0) {
    HeaderView view;
    const bool readable = parse_header(frame.header(), frame.header_bytes(), &view) == nullptr;
    close_soon(link, "the other agent refused: " + std::string(readable ? view.status_message : "no reason given"));
    return false;
  }
  // One that was handed over while it connected may lead where no instance is any more.
  if (link->upstream != UINT32_MAX) {
    upstreams_.connected(link->upstream);
    report_upstream(&upstreams_.at(link->upstream), {});
  }
  opened(link);
  return true;
}

/// An upstream that no instance names any more: its link ends with its last request.
void Engine::release_upstream(uint32_t slot) {
  const std::vector<Handle> links = upstreams_.at(slot).links;
  if (!upstreams_.release(slot)) return;
  for (const Handle handle : links) {
    Link* const link = find_link(handle);
    if (link == nullptr) continue;
    link->upstream = UINT32_MAX;
    link->drain_then_close = true;
    link->reason = "no instance is left behind this address";
    touch(link);
  }
}

}  // namespace ringside
