// Header changes. append_field is on the request's path and allocates nothing; set_attachments allocates its
// result once. Both check first and write afterwards, so that a refusal leaves everything as it was.
#include "native/codec/mesh_patch.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "native/base/limits.h"
#include "native/codec/mesh_header.h"
#include "native/codec/protobuf_scan.h"
#include "native/codec/utf8.h"

namespace ringside {
namespace {

const uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

bool is_text(std::string_view text) {
  return is_ascii(bytes_of(text), text.size()) || is_utf8(bytes_of(text), text.size());
}

// memcpy with a null source is undefined even for no bytes, and an empty view may hold null.
uint8_t* write_text(uint8_t* p, uint32_t field, std::string_view text) {
  p = write_varint32(p, (field << 3) | kWireBytes);
  p = write_varint32(p, static_cast<uint32_t>(text.size()));
  if (!text.empty()) std::memcpy(p, text.data(), text.size());
  return p + text.size();
}

// Text is at most kMaxHeaderBytes long where this is called, so nothing overflows.
size_t text_field_bytes(uint32_t field, std::string_view text) {
  return varint32_bytes(field << 3) + varint32_bytes(static_cast<uint32_t>(text.size())) + text.size();
}

Error too_long() { return {Code::kResourceExhausted, "header over 16384 bytes after the change"}; }

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

/// One attachments field: where it lies, its key, and whether it stays.
struct Piece {
  const uint8_t* begin;
  const uint8_t* end;
  std::string_view key;
  bool keep;
};

bool is_named(std::span<const AttachmentChange> changes, std::string_view key) {
  return std::any_of(changes.begin(), changes.end(), [key](const auto& change) { return change.key == key; });
}

bool is_last(std::span<const AttachmentChange> changes, size_t index) {
  return !is_named(changes.subspan(index + 1), changes[index].key);
}

size_t entry_bytes(const AttachmentChange& change) {
  return text_field_bytes(1, change.key) + text_field_bytes(2, *change.value);
}

uint8_t* write_entry(uint8_t* p, const AttachmentChange& change) {
  p = write_varint32(p, (kAttachmentsField << 3) | kWireBytes);
  p = write_varint32(p, static_cast<uint32_t>(entry_bytes(change)));
  p = write_text(p, 1, change.key);
  return write_text(p, 2, *change.value);
}

// Where the attachments lie in a header that parse_header accepted (hence at most 64, hence no check fails).
size_t locate_entries(const uint8_t* p, const uint8_t* end, std::array<Piece, kMaxAttachments>* entries) {
  size_t count = 0;
  while (p != nullptr && p < end && count < kMaxAttachments) {
    const uint8_t* const begin = p;
    uint32_t tag = 0;
    p = read_varint32(p, end, &tag);
    if (p == nullptr) break;
    if (tag != ((kAttachmentsField << 3) | kWireBytes)) {
      p = skip_value(p, end, tag & 7);
      continue;
    }
    const uint8_t* data = nullptr;
    uint32_t bytes = 0;
    p = read_bytes(p, end, &data, &bytes);
    if (p == nullptr) break;
    AttachmentView entry;
    if (parse_attachment(data, bytes, &entry) != nullptr) break;
    (*entries)[count++] = {begin, p, entry.key, true};
  }
  return count;
}

}  // namespace

Result<size_t> append_field(uint8_t* header, size_t n, size_t capacity, uint32_t field_number, std::string_view value) {
  if (field_number < 1 || field_number > kLastStringField) {
    return Error{Code::kInvalidArgument, "only fields 1 to 10 can be appended"};
  }
  if (field_number <= 2 && value.size() > kMaxNameBytes) {
    return Error{Code::kInvalidArgument, "service or method over 256 bytes"};
  }
  const size_t limit = std::min(capacity, kMaxHeaderBytes);
  if (n > limit || value.size() > limit || n + text_field_bytes(field_number, value) > limit) return too_long();
  if (!is_text(value)) return Error{Code::kInvalidArgument, "string is not valid UTF-8"};
  return static_cast<size_t>(write_text(header + n, field_number, value) - header);
}

Result<std::vector<uint8_t>> set_attachments(const uint8_t* p, size_t n, std::span<const AttachmentChange> changes) {
  HeaderView view;
  if (const char* reason = parse_header(p, n, &view)) return Error{Code::kInvalidArgument, reason};

  std::array<Piece, kMaxAttachments> storage;
  const std::span<Piece> entries(storage.data(), locate_entries(p, p + n, &storage));
  size_t kept = entries.size();
  size_t total = n;
  for (Piece& entry : entries) {
    if (!is_named(changes, entry.key)) continue;
    entry.keep = false;
    --kept;
    total -= static_cast<size_t>(entry.end - entry.begin);
  }
  for (size_t i = 0; i < changes.size(); ++i) {
    if (!changes[i].value || !is_last(changes, i)) continue;
    const AttachmentChange& change = changes[i];
    if (change.key.size() > kMaxHeaderBytes || change.value->size() > kMaxHeaderBytes) return too_long();
    if (!is_text(change.key) || !is_text(*change.value)) {
      return Error{Code::kInvalidArgument, "attachment is not valid UTF-8"};
    }
    if (++kept > kMaxAttachments) return Error{Code::kResourceExhausted, "more than 64 attachments"};
    const size_t bytes = entry_bytes(change);
    total += 1 + varint32_bytes(static_cast<uint32_t>(bytes)) + bytes;
  }
  if (total > kMaxHeaderBytes) return too_long();

  std::vector<uint8_t> out(total);
  uint8_t* to = out.data();
  const uint8_t* from = p;
  const auto copy_until = [&](const uint8_t* until) {
    if (until != from) std::memcpy(to, from, static_cast<size_t>(until - from));
    to += until - from;
  };
  for (const Piece& entry : entries) {
    if (entry.keep) continue;
    copy_until(entry.begin);
    from = entry.end;
  }
  copy_until(p + n);
  for (size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].value && is_last(changes, i)) to = write_entry(to, changes[i]);
  }
  return out;
}

size_t encode_status_message(uint8_t* out, size_t capacity, std::string_view text) {
  const size_t limit = std::min(capacity, kMaxHeaderBytes);
  // Two passes: how much fits decides the length of the length.
  const auto convert = [text](size_t room, uint8_t* to) {
    const uint8_t* from = bytes_of(text);
    const uint8_t* const end = from + text.size();
    size_t used = 0;
    while (from < end) {
      const Utf8Step step = utf8_step(from, static_cast<size_t>(end - from));
      const size_t bytes = step.ok ? step.bytes : kReplacement.size();
      if (bytes > room - used) break;
      if (to != nullptr) std::memcpy(to + used, step.ok ? from : bytes_of(kReplacement), bytes);
      used += bytes;
      from += step.bytes;
    }
    return used;
  };
  for (size_t length_bytes = 1; length_bytes <= 3; ++length_bytes) {
    if (limit <= 1 + length_bytes) break;
    const size_t room = limit - 1 - length_bytes;
    const size_t used = convert(room, nullptr);
    if (used == 0) return 0;
    if (varint32_bytes(static_cast<uint32_t>(used)) > length_bytes) continue;
    uint8_t* p = write_varint32(out, (kStatusMessageField << 3) | kWireBytes);
    p = write_varint32(p, static_cast<uint32_t>(used));
    return static_cast<size_t>(p - out) + convert(used, p);
  }
  return 0;
}

}  // namespace ringside
