// The header parser. One loop over the fields; the usual field (one-byte tag, one-byte length, ASCII) costs two
// compares and a store. Every occurrence of a field is checked, also those that a later one overrides: what
// one side would accept and another refuse could be used to smuggle.
#include "native/codec/mesh_header.h"

#include "native/base/limits.h"
#include "native/codec/protobuf_scan.h"
#include "native/codec/utf8.h"

namespace ringside {
namespace {

constexpr const char* kBadTag = "malformed field tag";
constexpr const char* kBadWireType = "known field with a wrong wire type";
constexpr const char* kBadValue = "malformed or truncated field value";
constexpr const char* kBadText = "string is not valid UTF-8";

constexpr std::string_view HeaderView::*kStringFields[kLastStringField] = {
    &HeaderView::service,      &HeaderView::method,         &HeaderView::group,       &HeaderView::version,
    &HeaderView::source_app,   &HeaderView::status_message, &HeaderView::traceparent, &HeaderView::tracestate,
    &HeaderView::content_type, &HeaderView::hash_key,
};

std::string_view as_text(const uint8_t* data, uint32_t n) { return {reinterpret_cast<const char*>(data), n}; }

const char* parse_entry(const uint8_t* p, const uint8_t* end, bool ascii, AttachmentView* out) {
  while (p < end) {
    uint32_t tag = 0;
    p = read_varint32(p, end, &tag);
    if (p == nullptr || tag < 8) return kBadTag;
    const uint32_t field = tag >> 3;
    if (field <= 2) {
      if ((tag & 7) != kWireBytes) return kBadWireType;
      const uint8_t* data = nullptr;
      uint32_t n = 0;
      p = read_bytes(p, end, &data, &n);
      if (p == nullptr) return kBadValue;
      if (!ascii && !is_utf8(data, n)) return kBadText;
      (field == 1 ? out->key : out->value) = as_text(data, n);
    } else {
      p = skip_value(p, end, tag & 7);
      if (p == nullptr) return kBadValue;
    }
  }
  return nullptr;
}

}  // namespace

const char* parse_header(const uint8_t* p, size_t n, HeaderView* out) {
  *out = HeaderView{};
  if (n > kMaxHeaderBytes) return "header over 16384 bytes";
  const uint8_t* const end = p + n;
  // A header without any byte of 0x80 or above needs no look at its single strings.
  const bool ascii = is_ascii(p, n);
  while (p < end) {
    uint32_t tag = 0;
    p = read_varint32(p, end, &tag);
    if (p == nullptr || tag < 8) return kBadTag;
    const uint32_t field = tag >> 3;
    if (field > kAttachmentsField) {
      p = skip_value(p, end, tag & 7);
      if (p == nullptr) return kBadValue;
      continue;
    }
    if ((tag & 7) != kWireBytes) return kBadWireType;
    const uint8_t* data = nullptr;
    uint32_t bytes = 0;
    p = read_bytes(p, end, &data, &bytes);
    if (p == nullptr) return kBadValue;
    if (field <= kLastStringField) [[likely]] {
      if (!ascii && !is_utf8(data, bytes)) return kBadText;
      if (field <= 2 && bytes > kMaxNameBytes) return "service or method over 256 bytes";
      out->*kStringFields[field - 1] = as_text(data, bytes);
    } else {
      if (++out->attachment_entries > kMaxAttachments) return "more than 64 attachments";
      AttachmentView entry;
      if (const char* reason = parse_entry(data, data + bytes, ascii, &entry)) return reason;
    }
  }
  return nullptr;
}

const char* parse_attachment(const uint8_t* p, size_t n, AttachmentView* out) {
  *out = AttachmentView{};
  return parse_entry(p, p + n, is_ascii(p, n), out);
}

bool next_attachment(const uint8_t** at, const uint8_t* end, AttachmentView* out) {
  const uint8_t* p = *at;
  while (p < end) {
    uint32_t tag = 0;
    p = read_varint32(p, end, &tag);
    if (p == nullptr) return false;
    if (tag != ((kAttachmentsField << 3) | kWireBytes)) {
      p = skip_value(p, end, tag & 7);
      if (p == nullptr) return false;
      continue;
    }
    const uint8_t* data = nullptr;
    uint32_t bytes = 0;
    p = read_bytes(p, end, &data, &bytes);
    if (p == nullptr) return false;
    *at = p;
    *out = AttachmentView{};
    // The text was validated by parse_header; here only the structure is walked.
    return parse_entry(data, data + bytes, true, out) == nullptr;
  }
  return false;
}

std::optional<std::string_view> find_attachment(const uint8_t* p, size_t n, std::string_view key) {
  std::optional<std::string_view> found;
  AttachmentView entry;
  for (const uint8_t* at = p; next_attachment(&at, p + n, &entry);) {
    if (entry.key == key) found = entry.value;
  }
  return found;
}

}  // namespace ringside
