// An application that keeps to the protocol, on the app's own native end (native/app). The hostile tests ask after every
// round whether it is still served.
#pragma once

#include <string>
#include <vector>

#include "native/app/app_link.h"
#include "native/test/hostile/frames.h"

namespace ringside::testing {

class HonestApp {
 public:
  HonestApp(const std::string& socket_path, const std::string& name) : slab_(4 * kMaxFrameBytes) {
    const Bytes hello = hello_of(name, kMinRingBytes);
    link_.start(socket_path, hello.data(), hello.size());
    link_.on_socket();
  }

  /// Goes on with the handshake, then takes what has come.
  std::vector<OwnedFrame> poll() {
    link_.on_socket();
    link_.on_doorbell();
    Bytes stream;
    do {
      const size_t n = link_.drain(slab_.data(), slab_.size());
      stream.insert(stream.end(), slab_.begin(), slab_.begin() + static_cast<ptrdiff_t>(n));
    } while (link_.state() == AppLink::State::kOpen && link_.arm() == AppLink::Sleep::kMore);
    return take_frames(&stream);
  }
  /// False: the ring is full now.
  bool send(const Bytes& frame) {
    size_t taken = 0;
    return link_.write(frame.data(), frame.size(), &taken) == AppLink::Written::kAll;
  }
  bool is_open() const { return link_.state() == AppLink::State::kOpen; }
  const std::string& reason() const { return link_.reason(); }

 private:
  AppLink link_;
  std::vector<uint8_t> slab_;
};

}  // namespace ringside::testing
