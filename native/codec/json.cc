#include "native/codec/json.h"

#include <algorithm>
#include <cstring>

#include "native/base/bytes.h"
#include "native/codec/utf8.h"

namespace ringside {

namespace {

bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }

int hex_digit(uint8_t c) {
  if (is_digit(c)) return c - '0';
  const uint8_t lower = c | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool is_hex4(const uint8_t* p, const uint8_t* end) {
  return end - p >= 4 && std::all_of(p, p + 4, [](uint8_t c) { return hex_digit(c) >= 0; });
}

uint32_t hex4(const char* p) {
  uint32_t v = 0;
  for (int i = 0; i < 4; i++) v = (v << 4) | static_cast<uint32_t>(hex_digit(static_cast<uint8_t>(p[i])));
  return v;
}

/// Whether one of eight bytes ends a plain run: a quote, a backslash or a control character. May say so too often behind the first.
bool has_special(uint64_t eight) {
  constexpr uint64_t kOnes = 0x0101010101010101ULL;
  constexpr uint64_t kHigh = 0x8080808080808080ULL;
  const uint64_t quote = eight ^ (kOnes * '"');
  const uint64_t slash = eight ^ (kOnes * '\\');
  return ((((quote - kOnes) & ~quote) | ((slash - kOnes) & ~slash) | ((eight - kOnes * 0x20) & ~eight)) & kHigh) != 0;
}

/// From behind the opening quote to behind the closing one.
const uint8_t* skip_string(const uint8_t* p, const uint8_t* end, bool* escaped) {
  for (;;) {
    while (end - p >= 8 && !has_special(load_u64(p))) p += 8;
    if (p == end) return nullptr;
    const uint8_t c = *p++;
    if (c == '"') return p;
    if (c < 0x20) return nullptr;
    if (c != '\\') continue;
    *escaped = true;
    if (p == end) return nullptr;
    const uint8_t kind = *p++;
    if (kind == 'u') {
      if (!is_hex4(p, end)) return nullptr;
      p += 4;
    } else if (kind == 0 || std::strchr("\"\\/bfnrt", kind) == nullptr) {
      return nullptr;
    }
  }
}

const uint8_t* skip_digits(const uint8_t* p, const uint8_t* end) {
  if (p == end || !is_digit(*p)) return nullptr;
  while (p < end && is_digit(*p)) p++;
  return p;
}

const uint8_t* skip_number(const uint8_t* p, const uint8_t* end) {
  if (*p == '-' && ++p == end) return nullptr;
  p = *p == '0' ? p + 1 : skip_digits(p, end);
  if (p != nullptr && p < end && *p == '.') p = skip_digits(p + 1, end);
  if (p != nullptr && p < end && (*p | 0x20) == 'e') {
    p++;
    if (p < end && (*p == '+' || *p == '-')) p++;
    p = skip_digits(p, end);
  }
  return p;
}

const uint8_t* skip_word(const uint8_t* p, const uint8_t* end, std::string_view word) {
  if (static_cast<size_t>(end - p) < word.size() || std::memcmp(p, word.data(), word.size()) != 0) return nullptr;
  return p + word.size();
}

const uint8_t* skip_scalar(const uint8_t* p, const uint8_t* end) {
  switch (*p) {
    case '"': {
      bool escaped = false;
      return skip_string(p + 1, end, &escaped);
    }
    case 't':
      return skip_word(p, end, "true");
    case 'f':
      return skip_word(p, end, "false");
    case 'n':
      return skip_word(p, end, "null");
    default:
      return skip_number(p, end);
  }
}

/// From the opening quote of a key to its value.
const uint8_t* skip_key(const uint8_t* p, const uint8_t* end, JsonText* key) {
  p = skip_json_space(p, end);
  if (p == end || *p != '"') return nullptr;
  const uint8_t* const begin = p + 1;
  key->escaped = false;
  p = skip_string(begin, end, &key->escaped);
  if (p == nullptr) return nullptr;
  key->raw = {reinterpret_cast<const char*>(begin), static_cast<size_t>(p - 1 - begin)};
  p = skip_json_space(p, end);
  return p < end && *p == ':' ? p + 1 : nullptr;
}

size_t write_utf8(uint32_t c, uint8_t* out) {
  if (c < 0x80) {
    out[0] = static_cast<uint8_t>(c);
    return 1;
  }
  if (c < 0x800) {
    out[0] = static_cast<uint8_t>(0xC0 | c >> 6);
    out[1] = static_cast<uint8_t>(0x80 | (c & 0x3F));
    return 2;
  }
  if (c < 0x10000) {
    out[0] = static_cast<uint8_t>(0xE0 | c >> 12);
    out[1] = static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F));
    out[2] = static_cast<uint8_t>(0x80 | (c & 0x3F));
    return 3;
  }
  out[0] = static_cast<uint8_t>(0xF0 | c >> 18);
  out[1] = static_cast<uint8_t>(0x80 | (c >> 12 & 0x3F));
  out[2] = static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F));
  out[3] = static_cast<uint8_t>(0x80 | (c & 0x3F));
  return 4;
}

/// The character that a \u escape at `raw[at]` (behind the u) stands for; `at` moves behind it, and behind its second half.
uint32_t decode_unicode_escape(std::string_view raw, size_t* at) {
  constexpr uint32_t kReplacement = 0xFFFD;
  const uint32_t first = hex4(raw.data() + *at);
  *at += 4;
  if (first < 0xD800 || first > 0xDFFF) return first;
  if (first > 0xDBFF || raw.size() - *at < 6 || raw[*at] != '\\' || raw[*at + 1] != 'u') return kReplacement;
  const uint32_t second = hex4(raw.data() + *at + 2);
  if (second < 0xDC00 || second > 0xDFFF) return kReplacement;
  *at += 6;
  return 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
}

/// The letter of a control character's short escape, or 0.
char short_escape(uint8_t c) {
  switch (c) {
    case '\b':
      return 'b';
    case '\f':
      return 'f';
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    default:
      return 0;
  }
}

}  // namespace

const uint8_t* skip_json_space(const uint8_t* p, const uint8_t* end) {
  while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
  return p;
}

const uint8_t* skip_json_value(const uint8_t* p, const uint8_t* end) {
  uint64_t objects[kMaxJsonDepth / 64] = {};  // bit per level: an object, not an array
  size_t depth = 0;
  JsonText key;
  for (;;) {
    p = skip_json_space(p, end);
    if (p == end) return nullptr;
    if (*p == '{' || *p == '[') {
      if (depth == kMaxJsonDepth) return nullptr;
      const bool object = *p == '{';
      p = skip_json_space(p + 1, end);
      if (p == end) return nullptr;
      if (*p == static_cast<uint8_t>(object ? '}' : ']')) {
        p++;
      } else {
        const uint64_t bit = uint64_t{1} << (depth % 64);
        if (object) {
          objects[depth / 64] |= bit;
          p = skip_key(p, end, &key);
          if (p == nullptr) return nullptr;
        } else {
          objects[depth / 64] &= ~bit;
        }
        depth++;
        continue;
      }
    } else {
      p = skip_scalar(p, end);
      if (p == nullptr) return nullptr;
    }
    // A value has ended; so may have those around it.
    for (;;) {
      if (depth == 0) return p;
      p = skip_json_space(p, end);
      if (p == end) return nullptr;
      const bool in_object = objects[(depth - 1) / 64] >> ((depth - 1) % 64) & 1;
      if (*p == ',') {
        p++;
        if (in_object) p = skip_key(p, end, &key);
        if (p == nullptr) return nullptr;
        break;
      }
      if (*p != static_cast<uint8_t>(in_object ? '}' : ']')) return nullptr;
      p++;
      depth--;
    }
  }
}

bool is_json(const uint8_t* p, size_t n) {
  if (!is_utf8(p, n)) return false;
  const uint8_t* const end = p + n;
  const uint8_t* const behind = skip_json_value(p, end);
  return behind != nullptr && skip_json_space(behind, end) == end;
}

bool JsonText::is(std::string_view plain) const {
  if (!escaped) return raw == plain;
  // An escape takes two to six bytes for a byte of ours.
  constexpr size_t kLongest = 64;
  if (plain.size() > kLongest || raw.size() > 6 * plain.size()) return false;
  uint8_t text[6 * kLongest];
  const size_t n = decode_json_text(*this, text);
  return plain == std::string_view(reinterpret_cast<const char*>(text), n);
}

size_t decode_json_text(const JsonText& text, uint8_t* out) {
  const std::string_view raw = text.raw;
  if (!text.escaped) {
    if (!raw.empty()) std::memcpy(out, raw.data(), raw.size());
    return raw.size();
  }
  uint8_t* to = out;
  size_t at = 0;
  while (at < raw.size()) {
    const char c = raw[at++];
    if (c != '\\') {
      *to++ = static_cast<uint8_t>(c);
      continue;
    }
    const char kind = raw[at++];
    switch (kind) {
      case 'u':
        to += write_utf8(decode_unicode_escape(raw, &at), to);
        break;
      case 'b':
        *to++ = '\b';
        break;
      case 'f':
        *to++ = '\f';
        break;
      case 'n':
        *to++ = '\n';
        break;
      case 'r':
        *to++ = '\r';
        break;
      case 't':
        *to++ = '\t';
        break;
      default:
        *to++ = static_cast<uint8_t>(kind);
    }
  }
  return static_cast<size_t>(to - out);
}

bool JsonCursor::enter_object() {
  const uint8_t* const p = skip_json_space(p_, end_);
  if (p == end_ || *p != '{') return false;
  p_ = p + 1;
  first_ = true;
  return true;
}

JsonCursor::Step JsonCursor::next(JsonText* key) {
  const uint8_t* p = skip_json_space(p_, end_);
  if (p == end_) return Step::kBad;
  if (*p == '}') {
    p_ = p + 1;
    first_ = false;  // the object around this one had a member: this
    return Step::kEnd;
  }
  if (!first_) {
    if (*p != ',') return Step::kBad;
    p++;
  }
  p = skip_key(p, end_, key);
  if (p == nullptr) return Step::kBad;
  first_ = false;
  p_ = p;
  return Step::kMember;
}

std::string_view JsonCursor::value() {
  const uint8_t* const begin = skip_json_space(p_, end_);
  const uint8_t* const behind = skip_json_value(begin, end_);
  if (behind == nullptr) return {};
  p_ = behind;
  return {reinterpret_cast<const char*>(begin), static_cast<size_t>(behind - begin)};
}

bool json_text_of(std::string_view value, JsonText* out) {
  if (value.size() < 2 || value.front() != '"') return false;
  out->raw = value.substr(1, value.size() - 2);
  out->escaped = out->raw.find('\\') != std::string_view::npos;
  return true;
}

size_t json_string_bytes(std::string_view text) {
  size_t bytes = 2;
  for (const char ch : text) {
    const auto c = static_cast<uint8_t>(ch);
    bytes += c == '"' || c == '\\' || short_escape(c) != 0 ? 2 : c < 0x20 ? 6 : 1;
  }
  return bytes;
}

uint8_t* write_json_string(uint8_t* out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  *out++ = '"';
  for (const char ch : text) {
    const auto c = static_cast<uint8_t>(ch);
    if (c == '"' || c == '\\') {
      *out++ = '\\';
      *out++ = c;
    } else if (const char letter = short_escape(c)) {
      *out++ = '\\';
      *out++ = static_cast<uint8_t>(letter);
    } else if (c < 0x20) {
      std::memcpy(out, "\\u00", 4);
      out[4] = static_cast<uint8_t>(kHex[c >> 4]);
      out[5] = static_cast<uint8_t>(kHex[c & 15]);
      out += 6;
    } else {
      *out++ = c;
    }
  }
  *out++ = '"';
  return out;
}

}  // namespace ringside
