// Bytes that a link could not hand over yet, in order. Bounded by its owner; gives its memory back when it has run empty.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace ringside {

class OutQueue {
 public:
  bool empty() const { return head_ == bytes_.size(); }
  size_t size() const { return bytes_.size() - head_; }
  const uint8_t* data() const { return bytes_.data() + head_; }
  void push(const void* p, size_t n) {
    const auto* b = static_cast<const uint8_t*>(p);
    bytes_.insert(bytes_.end(), b, b + n);
  }
  void pop(size_t n) {
    head_ += n;
    if (head_ == bytes_.size()) {
      clear();
    } else if (head_ > kCompactBytes && head_ > bytes_.size() / 2) {
      bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
      head_ = 0;
    }
  }
  void clear() {
    head_ = 0;
    if (bytes_.capacity() > kCompactBytes) {
      std::vector<uint8_t>().swap(bytes_);
    } else {
      bytes_.clear();
    }
  }

 private:
  static constexpr size_t kCompactBytes = 64 * 1024;
  std::vector<uint8_t> bytes_;
  size_t head_ = 0;
};

}  // namespace ringside
