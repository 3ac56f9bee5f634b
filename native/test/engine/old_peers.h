// Old clients and old servers in a test's hands: sockets that speak bytes of the legacy protocol, right or wrong. Never block.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "native/test/engine/engine_box.h"

namespace ringside::testing {

/// A socket in a test's hands that speaks bytes, not frames.
struct Plain {
  UniqueFd fd;
  std::string got;
  bool ended = false;

  void send(std::string_view bytes) {
    ASSERT_EQ(::send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT), static_cast<ssize_t>(bytes.size()));
  }
  const std::string& receive() {
    char block[65536];
    for (;;) {
      const ssize_t n = ::recv(fd.get(), block, sizeof block, MSG_DONTWAIT);
      if (n <= 0) {
        ended = ended || n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK);
        return got;
      }
      got.append(block, static_cast<size_t>(n));
    }
  }
};

inline Plain connect_to(uint16_t port) {
  Result<SocketAddress> address = parse_address("127.0.0.1:" + std::to_string(port));
  Plain plain;
  plain.fd = start_connect(address.value()).take();
  return plain;
}

inline std::string bulk(std::string_view text) { return "$" + std::to_string(text.size()) + "\r\n" + std::string(text) + "\r\n"; }
inline std::string get(std::string_view json) { return "*2\r\n" + bulk("GET") + bulk(json); }
inline std::string call(std::string_view args, std::string_view method = "m", std::string_view service = "s") {
  return get(R"({"action":")" + std::string(service) + R"(","params":{"m":")" + std::string(method) + R"(","args":)" + std::string(args) + "}}");
}
inline std::string ok(std::string_view result) { return R"({"ec":200,"em":"","result":)" + std::string(result) + "}"; }

/// An old server: a listening socket whose connections the test answers.
struct OldServer {
  Listening listening = listen_tcp("127.0.0.1", 0).take();
  std::vector<Plain> connections;

  void accept() {
    for (;;) {
      UniqueFd fd(::accept4(listening.fd.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (!fd.valid()) return;
      connections.push_back(Plain{std::move(fd), {}, false});
    }
  }
  EndpointSpec endpoint(uint64_t id = 100) const {
    EndpointSpec spec = remote_endpoint(id, listening.port);
    spec.protocol = LinkProtocol::kLegacy;
    return spec;
  }
  void receive() {
    accept();
    for (Plain& connection : connections) connection.receive();
  }
};

}  // namespace ringside::testing
