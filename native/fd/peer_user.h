// Whose socket is at the other end of a connection. On a unix socket the kernel says so (SO_PEERCRED); of a TCP connection within this machine it
// tells whoever asks by NETLINK_SOCK_DIAG with the exact four-tuple, one small exchange. Called when an agent accepts, and by the SDK before it
// says anything; never for a request. It is the user who made that socket: behind a proxy or a port forwarding that is the proxy's, and whoever is
// given a socket speaks as its maker.
#pragma once

#include <cstdint>

namespace ringside {

struct PeerUser {
  enum class Place : uint8_t {
    kKnown,      // on this machine, and `uid` is its user
    kUnknown,    // on this machine, but not to be told: `why`
    kElsewhere,  // on another machine, as far as this network namespace shows
    kCannotAsk,  // on this machine, but this kernel answers no such question
  };
  Place place = Place::kUnknown;
  uint32_t uid = UINT32_MAX;
  const char* why = "";

  bool known() const { return place == Place::kKnown; }
};

/// Who opened the connection that was accepted as `fd`.
PeerUser connecting_user(int fd);

/// Who listens where the connected socket `fd` leads to. Of a TCP connection that was not accepted yet it is the user of the listener.
PeerUser listening_user(int fd);

}  // namespace ringside
