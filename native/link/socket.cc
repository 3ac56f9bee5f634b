#include "native/link/socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "native/base/errno_text.h"

namespace ringside {

namespace {

constexpr int kBacklog = 4096;

Error system_error(const std::string& what, int error) {
  Code code = Code::kUnavailable;
  if (error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS) code = Code::kResourceExhausted;
  if (error == EACCES || error == EPERM) code = Code::kPermissionDenied;
  if (error == EADDRINUSE) code = Code::kAlreadyExists;
  return Error{code, what + ": " + errno_text(error)};
}

Result<SocketAddress> unix_address(const std::string& path) {
  SocketAddress address;
  auto* const local = reinterpret_cast<sockaddr_un*>(&address.storage);
  local->sun_family = AF_UNIX;
  if (path.size() >= sizeof local->sun_path) {
    return Error{Code::kInvalidArgument, "the socket path is longer than " + std::to_string(sizeof local->sun_path - 1) +
                                             " bytes, which is all a unix socket takes: " + path};
  }
  std::memcpy(local->sun_path, path.c_str(), path.size() + 1);
  address.bytes = sizeof *local;
  return address;
}

Result<Listening> listen_path(const std::string& path, int type, uint32_t mode, uint32_t group) {
  Result<SocketAddress> address = unix_address(path);
  if (!address) return address.error();
  const auto* const where = reinterpret_cast<const sockaddr*>(&address.value().storage);
  const socklen_t where_bytes = address.value().bytes;
  UniqueFd fd(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return system_error("no socket for " + path, errno);
  const mode_t before = umask(0177);
  int failed = bind(fd.get(), where, where_bytes);
  if (failed != 0 && errno == EADDRINUSE) {
    // Connecting to a file that is no socket is refused as well, and such a file is not ours to remove.
    struct stat found{};
    if (lstat(path.c_str(), &found) == 0 && !S_ISSOCK(found.st_mode)) {
      umask(before);
      return Error{Code::kAlreadyExists, path + " is there and is no socket, so it is left alone: remove it or choose another path"};
    }
    const UniqueFd probe(socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (connect(probe.get(), where, where_bytes) == 0 || errno != ECONNREFUSED) {
      umask(before);
      return Error{Code::kAlreadyExists, "another process listens on " + path};
    }
    unlink(path.c_str());
    failed = bind(fd.get(), where, where_bytes);
  }
  const int bind_error = errno;
  umask(before);
  if (failed != 0) return system_error("cannot listen on " + path, bind_error);
  if (group != UINT32_MAX && chown(path.c_str(), static_cast<uid_t>(-1), group) != 0) {
    return system_error("cannot give " + path + " to group " + std::to_string(group), errno);
  }
  if (chmod(path.c_str(), mode) != 0 || listen(fd.get(), kBacklog) != 0) {
    return system_error("cannot listen on " + path, errno);
  }
  return Listening{std::move(fd), 0};
}

}  // namespace

Result<SocketAddress> parse_address(const std::string& text) {
  const Error bad{Code::kInvalidArgument, "'" + text + "' is not an address: expected 10.0.0.1:80, [::1]:80 or /path/of.sock"};
  if (!text.empty() && text.front() == '/') return unix_address(text);
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad;
  std::string host = text.substr(0, colon);
  uint16_t port = 0;
  const char* const end = text.data() + text.size();
  const auto [parsed, problem] = std::from_chars(text.data() + colon + 1, end, port);
  if (problem != std::errc{} || parsed != end) return bad;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  SocketAddress address;
  auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
  if (inet_pton(AF_INET, host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    address.bytes = sizeof *v4;
  } else if (inet_pton(AF_INET6, host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    address.bytes = sizeof *v6;
  } else {
    return bad;
  }
  return address;
}

std::string format_address(const SocketAddress& address) {
  char host[INET6_ADDRSTRLEN] = "";
  if (address.storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&address.storage);
    inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
    return std::string(host) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  if (address.storage.ss_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&address.storage);
    inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
    return "[" + std::string(host) + "]:" + std::to_string(ntohs(v6->sin6_port));
  }
  return "unknown";
}

Result<Listening> listen_tcp(const std::string& host, uint16_t port) {
  const std::string text = (host.find(':') == std::string::npos ? host : "[" + host + "]") + ":" + std::to_string(port);
  Result<SocketAddress> address = parse_address(text);
  if (!address) return address.error();
  UniqueFd fd(socket(address.value().storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return system_error("no socket for " + text, errno);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const auto* where = reinterpret_cast<const sockaddr*>(&address.value().storage);
  if (bind(fd.get(), where, address.value().bytes) != 0 || listen(fd.get(), kBacklog) != 0) {
    return system_error("cannot listen on " + text, errno);
  }
  const uint16_t port_bound = bound_port(fd.get());
  return Listening{std::move(fd), port_bound};
}

uint16_t bound_port(int fd) {
  SocketAddress bound;
  bound.bytes = sizeof bound.storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&bound.storage), &bound.bytes);
  // sin_port and sin6_port stand at the same place.
  return ntohs(reinterpret_cast<const sockaddr_in*>(&bound.storage)->sin_port);
}

Result<Listening> listen_unix(const std::string& path, uint32_t mode, uint32_t group) {
  return listen_path(path, SOCK_STREAM, mode, group);
}
Result<Listening> listen_successor(const std::string& path) { return listen_path(path, SOCK_SEQPACKET, 0600, UINT32_MAX); }


Result<UniqueFd> start_connect(const SocketAddress& address) {
  UniqueFd fd(socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return system_error("no socket", errno);
  const auto* where = reinterpret_cast<const sockaddr*>(&address.storage);
  if (connect(fd.get(), where, address.bytes) != 0 && errno != EINPROGRESS) return system_error("connecting failed", errno);
  return fd;
}

int connect_error(int fd) {
  int error = 0;
  socklen_t bytes = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0) return errno;
  return error;
}

void tune_tcp(int fd, uint32_t user_timeout_ms) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
}

std::string peer_address(int fd) {
  SocketAddress peer;
  peer.bytes = sizeof peer.storage;
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&peer.storage), &peer.bytes) != 0) return "unknown";
  return format_address(peer);
}

std::string own_address(int fd) {
  SocketAddress own;
  own.bytes = sizeof own.storage;
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&own.storage), &own.bytes) != 0) return "unknown";
  return format_address(own);
}

}  // namespace ringside
