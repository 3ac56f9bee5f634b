// A byte string that holds short content in itself: the key of a table entry lies in the cache line that a lookup touches anyway. Longer content is on the heap.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

namespace ringside {

class InlineKey {
 public:
  /// Covers direction, service and method of most requests.
  static constexpr size_t kInlineBytes = 36;

  void assign(std::string_view bytes) {
    size_ = static_cast<uint32_t>(bytes.size());
    rest_.reset(size_ > kInlineBytes ? new char[size_] : nullptr);
    if (size_ > 0) std::memcpy(data(), bytes.data(), size_);
  }
  void clear() { assign({}); }
  std::string_view view() const { return {rest_ ? rest_.get() : inline_, size_}; }

 private:
  char* data() { return rest_ ? rest_.get() : inline_; }

  uint32_t size_ = 0;
  char inline_[kInlineBytes];
  std::unique_ptr<char[]> rest_;
};

}  // namespace ringside
