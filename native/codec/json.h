// JSON read in place, without a tree: where a value ends, which members an object has, what a string says. The legacy protocol's
// reader is built from it (legacy_json.h), and what goes out as JSON is checked with it. The input is hostile and must be private
// memory; nothing is allocated. Accepts what JSON.parse accepts, but for values nested deeper than kMaxJsonDepth.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace ringside {

/// Arrays and objects inside one another, at most: a reader of ours further on may well be recursive.
inline constexpr size_t kMaxJsonDepth = 512;

/// The byte behind the value at p (after white space), or nullptr if no valid value stands there. Does not look at UTF-8.
const uint8_t* skip_json_value(const uint8_t* p, const uint8_t* end);
/// The first byte from p on that is no white space, or `end`.
const uint8_t* skip_json_space(const uint8_t* p, const uint8_t* end);

/// Whether the n bytes are one JSON value in well-formed UTF-8, with nothing but white space around it.
bool is_json(const uint8_t* p, size_t n);

/// A string as it stands between its quotes.
struct JsonText {
  std::string_view raw;
  bool escaped = false;  // holds a backslash, so that raw is not yet the text

  /// Whether the text is `plain` (which needs no escapes).
  bool is(std::string_view plain) const;
};

/// Writes the text of a string to `out`, which has room for raw.size() bytes; returns its length. Half a surrogate pair becomes
/// U+FFFD, as where JavaScript encodes UTF-8.
size_t decode_json_text(const JsonText& text, uint8_t* out);

/// Walks over the members of objects. After a key either take its value or enter it.
class JsonCursor {
 public:
  JsonCursor(const uint8_t* p, size_t n) : p_(p), end_(p + n) {}

  enum class Step : uint8_t { kMember, kEnd, kBad };

  /// Steps into the object that stands here. False: something else does; the cursor has not moved.
  bool enter_object();
  /// The next member's key; kEnd stands behind the object then.
  Step next(JsonText* key);
  /// Takes the value that stands here, without white space around it. Data is null if it is malformed.
  std::string_view value();
  /// Whether nothing but white space is left.
  bool at_end() { return skip_json_space(p_, end_) == end_; }

 private:
  const uint8_t* p_;
  const uint8_t* end_;
  bool first_ = false;  // no member was read since enter_object
};

/// The value as a string. False: it is none. `value` comes from JsonCursor::value.
bool json_text_of(std::string_view value, JsonText* out);

/// Bytes that `text` takes as a JSON string with its quotes.
size_t json_string_bytes(std::string_view text);
/// Writes it; `text` is well-formed UTF-8. Returns the byte behind it.
uint8_t* write_json_string(uint8_t* out, std::string_view text);

}  // namespace ringside
