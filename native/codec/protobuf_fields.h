// Structs to protobuf's wire format and back. A struct lists its fields once, as `static void fields(Archive&, Self&)` with one call
// `archive(number, field)` each, numbers ascending; both directions walk that list. For messages between processes of Ringside itself (the
// handoff): a reader skips what it does not know and leaves what is missing at its default, so fields may be added. Fields
// out of order count as unknown. The input is hostile: the reader checks every length.
#pragma once

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "native/base/bytes.h"
#include "native/codec/protobuf_scan.h"

namespace ringside {

/// Appends a struct's fields to a string; zeros, empty strings and empty lists are left out.
class FieldWriter {
 public:
  explicit FieldWriter(std::string* out) : out_(out) {}

  template <typename T>
  void operator()(uint32_t number, const T& value) {
    if constexpr (std::is_enum_v<T>) {
      (*this)(number, static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_same_v<T, double>) {
      if (value == 0) return;
      tag(number, kWireFixed64);
      uint8_t bytes[8];
      store_u64(bytes, std::bit_cast<uint64_t>(value));
      out_->append(reinterpret_cast<const char*>(bytes), sizeof bytes);
    } else if constexpr (std::is_integral_v<T>) {
      static_assert(std::is_unsigned_v<T>);
      if (value == 0) return;
      tag(number, kWireVarint);
      varint(value);
    } else if constexpr (std::is_same_v<T, std::string>) {
      if (value.empty()) return;
      tag(number, kWireBytes);
      varint(value.size());
      out_->append(value);
    } else if constexpr (std::is_same_v<T, std::vector<uint64_t>>) {
      if (value.empty()) return;
      const size_t at = begin(number);
      for (const uint64_t v : value) varint(v);
      end(at);
    } else {
      for (const auto& entry : value) {
        const size_t at = begin(number);
        std::remove_cvref_t<decltype(entry)>::fields(*this, entry);
        end(at);
      }
    }
  }

 private:
  static constexpr size_t kLengthBytes = 5;  // padded, so that it can be filled in afterwards

  void varint(uint64_t v) {
    for (; v >= 0x80; v >>= 7) out_->push_back(static_cast<char>(v | 0x80));
    out_->push_back(static_cast<char>(v));
  }
  void tag(uint32_t number, uint32_t wire_type) { varint(number << 3 | wire_type); }
  size_t begin(uint32_t number) {
    tag(number, kWireBytes);
    out_->append(kLengthBytes, '\0');
    return out_->size();
  }
  void end(size_t at) {
    size_t n = out_->size() - at;
    for (size_t i = 0; i < kLengthBytes; i++, n >>= 7) {
      (*out_)[at - kLengthBytes + i] = static_cast<char>((n & 0x7F) | (i + 1 < kLengthBytes ? 0x80 : 0));
    }
  }

  std::string* out_;
};

/// Fills a struct from bytes; ok() after done() says whether they made sense.
class FieldReader {
 public:
  explicit FieldReader(std::string_view bytes)
      : p_(reinterpret_cast<const uint8_t*>(bytes.data())), end_(p_ + bytes.size()) {}

  template <typename T>
  void operator()(uint32_t number, T& value) {
    while (seek(number)) {
      read(value);
      has_tag_ = false;
    }
  }

  /// Reads to the end what no field of the struct has taken. True: everything was well-formed.
  bool done() {
    while (seek(UINT32_MAX)) ok_ = false;
    return ok_;
  }

 private:
  /// Whether the next field is `number`; what comes before it is skipped.
  bool seek(uint32_t number) {
    while (ok_) {
      if (!has_tag_) {
        if (p_ == end_) return false;
        uint32_t tag = 0;
        p_ = read_varint32(p_, end_, &tag);
        if (p_ == nullptr || tag < 8) return fail();
        number_ = tag >> 3;
        wire_type_ = tag & 7;
        has_tag_ = true;
      }
      if (number_ >= number) return number_ == number;
      p_ = skip_value(p_, end_, wire_type_);
      if (p_ == nullptr) return fail();
      has_tag_ = false;
    }
    return false;
  }

  template <typename T>
  void read(T& value) {
    if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number = 0;
      read(number);
      value = static_cast<T>(number);  // whoever uses it checks that it is one of the known
    } else if constexpr (std::is_same_v<T, bool>) {
      value = varint() != 0;
    } else if constexpr (std::is_same_v<T, double>) {
      if (wire_type_ != kWireFixed64 || end_ - p_ < 8) {
        fail();
        return;
      }
      value = std::bit_cast<double>(load_u64(p_));
      p_ += 8;
    } else if constexpr (std::is_integral_v<T>) {
      const uint64_t number = varint();
      value = static_cast<T>(number);
      if (value != number) fail();
    } else if constexpr (std::is_same_v<T, std::string>) {
      value = bytes();
    } else if constexpr (std::is_same_v<T, std::vector<uint64_t>>) {
      const std::string_view all = bytes();
      if (!ok_) return;
      FieldReader inner(all);
      inner.wire_type_ = kWireVarint;
      while (inner.ok_ && inner.p_ != inner.end_) value.push_back(inner.varint());
      ok_ = inner.ok_;
    } else {
      const std::string_view all = bytes();
      if (!ok_) return;
      FieldReader inner(all);
      auto& entry = value.emplace_back();
      std::remove_cvref_t<decltype(entry)>::fields(inner, entry);
      ok_ = inner.done();
    }
  }

  uint64_t varint() {
    uint64_t value = 0;
    if (wire_type_ != kWireVarint) {
      fail();
      return 0;
    }
    for (uint32_t shift = 0; shift < 70; shift += 7) {
      if (p_ == end_) break;
      const uint64_t byte = *p_++;
      if (shift == 63 && byte > 1) break;
      value |= (byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    fail();
    return 0;
  }

  std::string_view bytes() {
    const uint8_t* data = nullptr;
    uint32_t n = 0;
    const uint8_t* behind = wire_type_ == kWireBytes ? read_bytes(p_, end_, &data, &n) : nullptr;
    if (behind == nullptr) {
      fail();
      return {};
    }
    p_ = behind;
    return {reinterpret_cast<const char*>(data), n};
  }

  bool fail() {
    ok_ = false;
    p_ = end_;
    return false;
  }

  const uint8_t* p_;
  const uint8_t* end_;
  uint32_t number_ = 0;
  uint32_t wire_type_ = 0;
  bool has_tag_ = false;
  bool ok_ = true;
};

template <typename T>
std::string encode_fields(const T& value) {
  std::string out;
  FieldWriter writer(&out);
  T::fields(writer, value);
  return out;
}

/// False: the bytes are no message, `out` is then of no use.
template <typename T>
bool decode_fields(std::string_view bytes, T* out) {
  FieldReader reader(bytes);
  T::fields(reader, *out);
  return reader.done();
}

}  // namespace ringside
