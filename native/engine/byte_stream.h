// Reading and writing the batches that cross between TypeScript and the engine (src/native/engine-commands.ts is the other
// side): little-endian scalars and byte strings behind a u32 length. The reader checks every length and remembers a
// failure, so that decoders read on without testing each step and look at ok() once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "native/base/bytes.h"

namespace ringside {

class ByteReader {
 public:
  ByteReader(const uint8_t* p, size_t n) : p_(p), end_(p + n) {}
  bool ok() const { return ok_; }
  size_t left() const { return static_cast<size_t>(end_ - p_); }
  uint8_t u8() { return need(1) ? *advance(1) : uint8_t{0}; }
  uint32_t u32() { return need(4) ? load_u32(advance(4)) : 0; }
  uint64_t u64() { return need(8) ? load_u64(advance(8)) : 0; }
  std::string_view bytes() {
    const uint32_t n = u32();
    if (!need(n)) return {};
    return {reinterpret_cast<const char*>(advance(n)), n};
  }
  std::string text() { return std::string(bytes()); }

 private:
  bool need(size_t n) {
    ok_ = ok_ && left() >= n;
    return ok_;
  }
  const uint8_t* advance(size_t n) {
    const uint8_t* at = p_;
    p_ += n;
    return at;
  }
  const uint8_t* p_;
  const uint8_t* end_;
  bool ok_ = true;
};

class ByteWriter {
 public:
  void u8(uint8_t v) { out_.push_back(v); }
  void u16(uint16_t v) { raw(&v, sizeof v); }
  void u32(uint32_t v) { raw(&v, sizeof v); }
  void u64(uint64_t v) { raw(&v, sizeof v); }
  void f64(double v) { raw(&v, sizeof v); }
  void bytes(std::string_view v) {
    u32(static_cast<uint32_t>(v.size()));
    raw(v.data(), v.size());
  }
  size_t size() const { return out_.size(); }
  /// Place for a u32 that is known later.
  size_t hold_u32() {
    u32(0);
    return out_.size() - 4;
  }
  void fill_u32(size_t at, uint32_t v) { store_u32(&out_[at], v); }
  std::vector<uint8_t> take() { return std::move(out_); }
  const std::vector<uint8_t>& view() const { return out_; }

 private:
  void raw(const void* p, size_t n) {
    const auto* b = static_cast<const uint8_t*>(p);
    out_.insert(out_.end(), b, b + n);
  }
  std::vector<uint8_t> out_;
};

}  // namespace ringside
