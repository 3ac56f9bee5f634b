// Opening sockets: listening and connecting, with errors in words. Addresses are IP literals ("127.0.0.1:80", "[::1]:80") or paths of
// unix sockets ("/run/app.sock"); names are resolved in TypeScript.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>

#include "native/base/status.h"
#include "native/fd/unique_fd.h"

namespace ringside {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;

  bool is_unix() const { return storage.ss_family == AF_UNIX; }
};

/// Parses "host:port" or "[host]:port" with an IP literal, or an absolute path. INVALID_ARGUMENT when it is none of them.
Result<SocketAddress> parse_address(const std::string& text);
std::string format_address(const SocketAddress& address);

struct Listening {
  UniqueFd fd;
  uint16_t port = 0;  // as bound; 0 for unix
};
/// Listens on an IP literal; port 0 takes any.
Result<Listening> listen_tcp(const std::string& host, uint16_t port);
/// Listens on a path. A socket nobody listens on any more is replaced; a live one is ALREADY_EXISTS. `group` UINT32_MAX: unchanged.
Result<Listening> listen_unix(const std::string& path, uint32_t mode, uint32_t group);

/// Listens for a successor on a path in a directory that only this user may enter: a seqpacket socket, see native/engine/handoff.h.
Result<Listening> listen_successor(const std::string& path);
/// The port a TCP socket is bound to.
uint16_t bound_port(int fd);

/// Starts connecting; the socket becomes writable when it is settled.
Result<UniqueFd> start_connect(const SocketAddress& address);
/// 0 when a started connection is established, else its errno.
int connect_error(int fd);
/// TCP_NODELAY and a bound on how long unacknowledged bytes may stay so.
void tune_tcp(int fd, uint32_t user_timeout_ms);
std::string peer_address(int fd);
/// Where this end of a TCP connection is bound.
std::string own_address(int fd);

}  // namespace ringside
