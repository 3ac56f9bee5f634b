// Memory that lives for one turn of the engine's loop: what was read from sockets, private copies of headers, replies the
// engine writes itself. Frames waiting in a link's gather list point into it, so it is reset only after every link has been
// flushed. One block is kept; more are added in a turn that needs them and freed at its end, so that `take` never fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ringside {

class TurnArena {
 public:
  explicit TurnArena(size_t block_bytes) : block_bytes_(block_bytes), first_(new uint8_t[block_bytes]) {
    reset();
  }
  TurnArena(const TurnArena&) = delete;
  TurnArena& operator=(const TurnArena&) = delete;

  /// At least `n` bytes, 8-byte aligned. What was not needed goes back with give_back().
  uint8_t* take(size_t n) {
    n = (n + 7) & ~size_t{7};
    if (static_cast<size_t>(end_ - cursor_) < n) add_block(n);
    uint8_t* p = cursor_;
    cursor_ += n;
    used_ += n;
    return p;
  }
  /// Returns the unused end of the newest take(): only `kept` bytes from `p` on are needed.
  void give_back(uint8_t* p, size_t kept) {
    uint8_t* keep_end = p + ((kept + 7) & ~size_t{7});
    used_ -= static_cast<size_t>(cursor_ - keep_end);
    cursor_ = keep_end;
  }
  size_t used() const { return used_; }
  void reset() {
    more_.clear();
    cursor_ = first_.get();
    end_ = cursor_ + block_bytes_;
    used_ = 0;
  }

 private:
  void add_block(size_t n) {
    const size_t bytes = n > block_bytes_ ? n : block_bytes_;
    more_.emplace_back(new uint8_t[bytes]);
    cursor_ = more_.back().get();
    end_ = cursor_ + bytes;
  }

  size_t block_bytes_;
  std::unique_ptr<uint8_t[]> first_;
  std::vector<std::unique_ptr<uint8_t[]>> more_;
  uint8_t* cursor_ = nullptr;
  uint8_t* end_ = nullptr;
  size_t used_ = 0;
};

}  // namespace ringside
