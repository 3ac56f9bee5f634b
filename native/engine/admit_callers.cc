// Who connects to a listener, and whether that user may: by SO_PEERCRED on the unix socket, by the kernel's answer about the other end of a TCP
// connection (native/fd/peer_user.h) on ports for applications. A connection that is refused here never becomes a link; it is told why in the
// protocol that it speaks, which its first byte shows.
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "native/codec/mesh_patch.h"
#include "native/codec/resp.h"
#include "native/engine/engine.h"
#include "native/fd/peer_user.h"
#include "native/link/socket.h"

namespace ringside {

namespace {

bool is_listed(const std::vector<uint32_t>& uids, uint32_t uid) { return std::find(uids.begin(), uids.end(), uid) != uids.end(); }

void send_welcome(int fd, Code code, std::string_view text) {
  uint8_t bytes[kFixedBytes + kMaxNameBytes];
  FixedPart fixed;
  fixed.type = FrameType::kWelcome;
  fixed.status = static_cast<uint8_t>(code);
  fixed.header_bytes = static_cast<uint32_t>(encode_status_message(bytes + kFixedBytes, kMaxNameBytes, text));
  encode_fixed(fixed, bytes);
  send(fd, bytes, kFixedBytes + fixed.header_bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void send_resp_error(int fd, Code code, std::string_view text) {
  const char* const word = code == Code::kPermissionDenied ? "-NOPERM " : code == Code::kUnauthenticated ? "-NOAUTH " : "-ERR ";
  const std::string line = std::string(word).append(text).append("\r\n");
  send(fd, line.data(), line.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/// The first byte that came, or -1 where none did.
int first_byte(int fd) {
  uint8_t byte;
  return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 1 ? byte : -1;
}

}  // namespace

/// What is known of who connected, and why he may not, if so.
Engine::Caller Engine::identify(const Listener& listener, int fd) {
  Caller caller;
  if (listener.kind == LinkKind::kUnix) {
    ucred credentials{};
    socklen_t bytes = sizeof credentials;
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes);
    caller.uid = credentials.uid;
    caller.pid = static_cast<uint32_t>(credentials.pid);
    caller.peer = "uid " + std::to_string(caller.uid) + " pid " + std::to_string(caller.pid);
    caller.place = CallerPlace::kHere;
    if (!is_listed(options_.allow_uids, caller.uid)) {
      caller.refusal = {Code::kPermissionDenied,
                        "uid " + std::to_string(caller.uid) + " may not use this agent: add it to socket.allowUids"};
    }
    return caller;
  }
  caller.peer = peer_address(fd);
  const bool is_app = listener.role == LinkRole::kApp;
  // What another agent may do does not depend on its user, except where it may register servers for others.
  if (!is_app && !options_.place_peers) return caller;
  const PeerUser user = connecting_user(fd);
  if (user.place == PeerUser::Place::kElsewhere) {
    caller.place = CallerPlace::kElsewhere;
    return caller;  // an application of another machine: there is a token for them
  }
  caller.place = CallerPlace::kHere;
  const bool may = options_.loopback_any_uid || (user.known() && is_listed(options_.loopback_uids, user.uid));
  caller.uid = user.uid;
  if (!is_app) {
    if (!may) caller.place = CallerPlace::kHereUnallowed;
    return caller;
  }
  if (user.known()) caller.peer += " uid " + std::to_string(user.uid);
  if (may) return caller;
  if (user.known()) {
    caller.refusal = {Code::kPermissionDenied, "uid " + std::to_string(user.uid) +
                                                   " may not use this agent's port for applications: add it to loopback.allowUids"};
  } else if (options_.loopback_token.empty()) {
    caller.refusal = {Code::kUnauthenticated,
                      std::string("uid unknown (") + user.why +
                          "): show the loopback.token (RINGSIDE_TOKEN), or set loopback.allowUids to any"};
  }
  return caller;
}

/// Refuses a connection that is no link, in the words of the protocol that it speaks: at once if that shows, else when it does.
void Engine::turn_off(UniqueFd fd, Error refusal) {
  counters_.links_refused++;
  if (first_byte(fd.get()) >= 0) {
    tell_refusal(fd.get(), refusal);
    part_from(std::move(fd));
    return;
  }
  Parting* const parting = keep_parting(&fd);
  if (parting != nullptr) {
    parting->refusal = std::move(refusal);
  } else {
    tell_refusal(fd.get(), refusal);
  }
}

/// Where nothing came yet the words are those of the mesh protocol.
void Engine::tell_refusal(int fd, const Error& refusal) {
  const int first = first_byte(fd);
  if (first >= 0 && begins_resp(static_cast<uint8_t>(first))) {
    send_resp_error(fd, refusal.code, refusal.text);
  } else {
    send_welcome(fd, refusal.code, refusal.text);
  }
}

}  // namespace ringside
