#include "native/fd/peer_user.h"

#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

#include "native/fd/unique_fd.h"

namespace ringside {

namespace {

using Place = PeerUser::Place;

/// One end of a TCP connection. IPv4 within IPv6 counts as IPv4: each end may see it as either.
struct End {
  uint8_t family = 0;
  uint32_t address[4] = {};
  uint16_t port = 0;  // in the network's byte order
  uint32_t scope = 0;

  bool operator==(const End& other) const {
    return family == other.family && port == other.port && std::memcmp(address, other.address, sizeof address) == 0;
  }
};

End end_of(uint8_t family, const void* address, uint16_t port, uint32_t scope) {
  End end{family, {}, port, 0};
  if (family == AF_INET) {
    std::memcpy(end.address, address, 4);
    return end;
  }
  in6_addr v6;
  std::memcpy(&v6, address, sizeof v6);
  if (IN6_IS_ADDR_V4MAPPED(&v6)) return end_of(AF_INET, v6.s6_addr + 12, port, 0);
  std::memcpy(end.address, address, 16);
  if (IN6_IS_ADDR_LINKLOCAL(&v6)) end.scope = scope;
  return end;
}

enum class Side : uint8_t { kOwn, kPeer };

/// False: the socket is not (or no more) connected, or is none of TCP.
bool read_end(int fd, Side side, End* end) {
  sockaddr_storage storage{};
  socklen_t bytes = sizeof storage;
  auto* const name = reinterpret_cast<sockaddr*>(&storage);
  if ((side == Side::kOwn ? getsockname(fd, name, &bytes) : getpeername(fd, name, &bytes)) != 0) return false;
  if (storage.ss_family == AF_INET) {
    const auto* const v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    *end = end_of(AF_INET, &v4->sin_addr, v4->sin_port, 0);
    return true;
  }
  if (storage.ss_family != AF_INET6) return false;
  const auto* const v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
  *end = end_of(AF_INET6, &v6->sin6_addr, v6->sin6_port, v6->sin6_scope_id);
  return true;
}

/// Fills a socket's address from an end, with another port.
socklen_t write_end(const End& end, uint16_t port, sockaddr_storage* storage) {
  if (end.family == AF_INET) {
    auto* const v4 = reinterpret_cast<sockaddr_in*>(storage);
    v4->sin_family = AF_INET;
    v4->sin_port = port;
    std::memcpy(&v4->sin_addr, end.address, 4);
    return sizeof *v4;
  }
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(storage);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = port;
  v6->sin6_scope_id = end.scope;
  std::memcpy(&v6->sin6_addr, end.address, 16);
  return sizeof *v6;
}

struct Answer {
  enum class Kind : uint8_t { kSocket, kNone, kFailed } kind = Kind::kFailed;
  uint8_t state = 0;
  uint32_t uid = 0, inode = 0;
  End own, other;

  /// Whether this is the socket between these two ends, and no listener that the kernel names where there is none.
  bool is_between(const End& a, const End& b) const {
    return kind == Kind::kSocket && state != TCP_LISTEN && own == a && other == b;
  }
};

/// Asks the kernel for the socket whose own end and other end are these; for a listener `other` has no address and no port.
Answer ask_kernel(const End& own, const End& other) {
  const UniqueFd fd(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  if (!fd.valid()) return {};
  struct {
    nlmsghdr head;
    inet_diag_req_v2 wanted;
  } question{};
  question.head.nlmsg_len = sizeof question;
  question.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.head.nlmsg_flags = NLM_F_REQUEST;
  inet_diag_req_v2& wanted = question.wanted;
  wanted.sdiag_family = own.family;
  wanted.sdiag_protocol = IPPROTO_TCP;
  wanted.idiag_states = ~0u;
  wanted.id.idiag_sport = own.port;
  wanted.id.idiag_dport = other.port;
  std::memcpy(wanted.id.idiag_src, own.address, sizeof own.address);
  std::memcpy(wanted.id.idiag_dst, other.address, sizeof other.address);
  wanted.id.idiag_if = own.scope;
  wanted.id.idiag_cookie[0] = wanted.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  const auto* const to = reinterpret_cast<const sockaddr*>(&kernel);
  if (::sendto(fd.get(), &question, sizeof question, MSG_DONTWAIT, to, sizeof kernel) != static_cast<ssize_t>(sizeof question)) {
    return {};
  }
  // The kernel answers within sendto(), so there is nothing to wait for.
  alignas(nlmsghdr) char bytes[4096];
  sockaddr_nl from{};
  socklen_t from_bytes = sizeof from;
  const ssize_t got =
      ::recvfrom(fd.get(), bytes, sizeof bytes, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&from), &from_bytes);
  if (got < static_cast<ssize_t>(sizeof(nlmsghdr)) || from.nl_pid != 0) return {};
  nlmsghdr head;
  std::memcpy(&head, bytes, sizeof head);
  const size_t length = static_cast<size_t>(got) - NLMSG_HDRLEN;
  Answer answer;
  if (head.nlmsg_type == NLMSG_ERROR && length >= sizeof(nlmsgerr)) {
    nlmsgerr error;
    std::memcpy(&error, bytes + NLMSG_HDRLEN, sizeof error);
    if (error.error == -ENOENT) answer.kind = Answer::Kind::kNone;
    return answer;
  }
  if (head.nlmsg_type != SOCK_DIAG_BY_FAMILY || length < sizeof(inet_diag_msg)) return answer;
  inet_diag_msg found;
  std::memcpy(&found, bytes + NLMSG_HDRLEN, sizeof found);
  answer.kind = Answer::Kind::kSocket;
  answer.state = found.idiag_state;
  answer.uid = found.idiag_uid;
  answer.inode = found.idiag_inode;
  answer.own = end_of(found.idiag_family, found.id.idiag_src, found.id.idiag_sport, 0);
  answer.other = end_of(found.idiag_family, found.id.idiag_dst, found.id.idiag_dport, 0);
  return answer;
}

/// Whether this kernel answers at all: where its module is missing it says of every socket that there is none. Looked at once, with a
/// listener of our own; as long as none can be made (no descriptor is free, there is no loopback interface) it counts as one that does.
bool kernel_answers() {
  enum : int { kNotLooked, kYes, kNo };
  static std::atomic<int> looked{kNotLooked};
  if (const int before = looked.load(std::memory_order_relaxed); before != kNotLooked) return before == kYes;
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in here{};
  here.sin_family = AF_INET;
  here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (!fd.valid() || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&here), sizeof here) != 0 || ::listen(fd.get(), 1) != 0) {
    return true;
  }
  End own;
  if (!read_end(fd.get(), Side::kOwn, &own)) return true;
  const Answer answer = ask_kernel(own, End{AF_INET});
  const bool yes = answer.kind == Answer::Kind::kSocket && answer.inode != 0;
  looked.store(yes ? kYes : kNo, std::memory_order_relaxed);
  return yes;
}

std::string content_of(const char* path) {
  const UniqueFd fd(::open(path, O_RDONLY | O_CLOEXEC));
  char text[256];
  const ssize_t got = fd.valid() ? ::read(fd.get(), text, sizeof text) : -1;
  return got > 0 ? std::string(text, static_cast<size_t>(got)) : std::string();
}

/// The uid that stands for whomever this process's user namespace does not know (user_namespaces(7)).
uint32_t overflow_uid() {
  static const uint32_t found = [] {
    uint32_t uid = 65'534;
    const std::string text = content_of("/proc/sys/kernel/overflowuid");
    std::from_chars(text.data(), text.data() + text.size(), uid);
    return uid;
  }();
  return found;
}

/// Whether this process's user namespace knows every uid there is, as the first one does: then the overflow uid is a user like others.
bool knows_every_uid() {
  uint64_t fields[3] = {1, 0, 0};
  const std::string map = content_of("/proc/self/uid_map");
  const char* at = map.data();
  const char* const end = at + map.size();
  for (uint64_t& field : fields) {
    while (at < end && *at == ' ') at++;
    at = std::from_chars(at, end, field).ptr;
  }
  return fields[0] == 0 && fields[2] == UINT32_MAX;
}

PeerUser user(uint32_t uid) {
  if (uid == overflow_uid() && !knows_every_uid()) return {Place::kUnknown, UINT32_MAX, "its user is none of this user namespace"};
  return {Place::kKnown, uid, ""};
}

/// Of a socket that was found; one that nobody holds any more has no user.
PeerUser user_of(const Answer& answer) {
  if (answer.inode == 0) return {Place::kUnknown, UINT32_MAX, "its socket was closed already"};
  return user(answer.uid);
}

bool is_loopback(const End& end) {
  if (end.family == AF_INET) return (ntohl(end.address[0]) >> 24) == 127;
  return IN6_IS_ADDR_LOOPBACK(reinterpret_cast<const in6_addr*>(end.address));
}

/// Whether an address is one of this machine's: only those can be bound to.
bool is_here(const End& end) {
  if (is_loopback(end)) return true;
  const UniqueFd fd(::socket(end.family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_storage storage{};
  const socklen_t bytes = write_end(end, 0, &storage);
  return !fd.valid() || ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), bytes) == 0 || errno != EADDRNOTAVAIL;
}

/// Where no socket was found between the two ends.
PeerUser no_user(const Answer& answer, const End& peer) {
  if (!is_here(peer)) return {Place::kElsewhere, UINT32_MAX, ""};
  if (answer.kind == Answer::Kind::kFailed || !kernel_answers()) {
    return {Place::kCannotAsk, UINT32_MAX, "this kernel does not tell (NETLINK_SOCK_DIAG)"};
  }
  return {Place::kUnknown, UINT32_MAX, "its socket is gone, or in another network namespace"};
}

constexpr PeerUser kNotConnected{Place::kUnknown, UINT32_MAX, "the connection has ended"};

/// False: it is no unix socket. The user who connected, or who made the listener.
bool unix_user(int fd, PeerUser* found) {
  int domain = 0;
  socklen_t bytes = sizeof domain;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) != 0 || domain != AF_UNIX) return false;
  ucred credentials{};
  bytes = sizeof credentials;
  *found = kNotConnected;
  // Not user(): as the kernel names its users here, so it names the owners of directories, with which they are compared.
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &bytes) == 0 && credentials.pid >= 0 && credentials.uid != UINT32_MAX) {
    *found = {Place::kKnown, credentials.uid, ""};
  }
  return true;
}

}  // namespace

PeerUser connecting_user(int fd) {
  PeerUser found;
  if (unix_user(fd, &found)) return found;
  End own, peer;
  if (!read_end(fd, Side::kOwn, &own) || !read_end(fd, Side::kPeer, &peer)) return kNotConnected;
  const Answer answer = ask_kernel(peer, own);
  found = answer.is_between(peer, own) ? user_of(answer) : no_user(answer, peer);
  // Once this end is no more, the other's ports may be somebody else's: then what was found need not be who spoke here.
  End still;
  return read_end(fd, Side::kPeer, &still) ? found : kNotConnected;
}

PeerUser listening_user(int fd) {
  PeerUser found;
  if (unix_user(fd, &found)) return found;
  End own, peer;
  if (!read_end(fd, Side::kOwn, &own) || !read_end(fd, Side::kPeer, &peer)) return kNotConnected;
  Answer answer = ask_kernel(peer, own);
  if (answer.is_between(peer, own) && answer.inode == 0 && (answer.state == TCP_ESTABLISHED || answer.state == TCP_SYN_RECV)) {
    // Nobody has accepted it yet, so it belongs to whoever listens. If it still waits afterwards, then in the queue of that listener, as a
    // queue does not outlive its own.
    End any{peer.family};
    const Answer listener = ask_kernel(peer, any);
    answer = ask_kernel(peer, own);
    if (answer.is_between(peer, own) && answer.inode == 0 && listener.kind == Answer::Kind::kSocket && listener.state == TCP_LISTEN) {
      answer.inode = listener.inode;
      answer.uid = listener.uid;
    }
  }
  found = answer.is_between(peer, own) ? user_of(answer) : no_user(answer, peer);
  End still;
  return read_end(fd, Side::kPeer, &still) ? found : kNotConnected;
}

}  // namespace ringside
