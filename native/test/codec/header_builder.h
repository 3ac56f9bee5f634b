// Builds protobuf bytes for the codec's tests, valid and invalid ones alike: nothing is checked. Only tests use it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "native/codec/mesh_header.h"

namespace ringside::test {

class HeaderBuilder {
 public:
  HeaderBuilder& byte(uint8_t b) {
    bytes_.push_back(b);
    return *this;
  }
  HeaderBuilder& varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) byte(static_cast<uint8_t>(v | 0x80));
    return byte(static_cast<uint8_t>(v));
  }
  /// The same value in `width` bytes, padded with empty groups.
  HeaderBuilder& padded_varint(uint64_t v, size_t width) {
    for (size_t i = 1; i < width; ++i, v >>= 7) byte(static_cast<uint8_t>(v | 0x80));
    return byte(static_cast<uint8_t>(v & 0x7F));
  }
  HeaderBuilder& tag(uint32_t field, uint32_t wire_type) { return varint((uint64_t{field} << 3) | wire_type); }
  HeaderBuilder& raw(std::string_view text) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    return *this;
  }
  HeaderBuilder& text(uint32_t field, std::string_view value) { return tag(field, 2).varint(value.size()).raw(value); }
  HeaderBuilder& entry(std::string_view key, std::string_view value) {
    const HeaderBuilder inner = HeaderBuilder().text(1, key).text(2, value);
    return text(kAttachmentsField, inner.as_text());
  }

  std::string_view as_text() const { return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()}; }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

/// The reason for which the bytes are malformed, or "" if they are fine.
inline std::string why_malformed(const std::vector<uint8_t>& bytes) {
  HeaderView view;
  const char* reason = parse_header(bytes.data(), bytes.size(), &view);
  return reason == nullptr ? "" : reason;
}
inline std::string why_malformed(const HeaderBuilder& b) { return why_malformed(b.bytes()); }

}  // namespace ringside::test
