// Changing a header without understanding all of it (docs/wire-format.md, "Changing a header"): appending a
// scalar field, which then wins; re-encoding only the attachments; writing the small header of a failure.
// The engine calls these while it forwards. Limits hold after every change: a result never needs checking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "native/base/status.h"

namespace ringside {

/// Appends string field 1 to 10 behind the n bytes at `header`, in place. Returns the new length.
/// Errors: kInvalidArgument (field number, UTF-8, name over 256 bytes), kResourceExhausted (over `capacity` or
/// over 16,384 bytes); the header is then unchanged.
Result<size_t> append_field(uint8_t* header, size_t n, size_t capacity, uint32_t field_number, std::string_view value);

/// One wanted change: a value sets, nullopt removes.
struct AttachmentChange {
  std::string_view key;
  std::optional<std::string_view> value;
};

/// The header with attachments changed; if a key stands in `changes` twice the last one counts. All else
/// keeps its bytes and its order, entries of keys that are not named included; what is set stands at the end.
/// Errors: kInvalidArgument (malformed header, bad UTF-8), kResourceExhausted (more than 64 entries or more than
/// 16,384 bytes afterwards).
Result<std::vector<uint8_t>> set_attachments(const uint8_t* p, size_t n, std::span<const AttachmentChange> changes);

/// Writes a header that holds only status_message; returns its length, 0 for an empty text or no room. The text
/// is cut on a character boundary to what fits `capacity` (and 16,384 bytes); ill-formed bytes become U+FFFD.
size_t encode_status_message(uint8_t* out, size_t capacity, std::string_view text);

}  // namespace ringside
