#include "native/codec/legacy_mesh.h"

#include <array>
#include <charconv>
#include <cstring>

#include "native/base/limits.h"
#include "native/codec/legacy_status.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"
#include "native/codec/protobuf_scan.h"

namespace ringside {

namespace {

constexpr LegacyProblem kTooLarge{ec::kSerialisation, "action, method and props take more than 16 KiB, or there are more than 64 props"};
constexpr LegacyProblem kNameTooLong{ec::kBadUri, "action or method takes more than 256 bytes"};
constexpr uint32_t kServiceField = 1, kMethodField = 2, kGroupField = 3, kContentTypeField = 9, kHashKeyField = 10;
constexpr std::string_view kHashProp = "hashid";



/// The text of a string; `storage` is used where it has escapes.
std::string_view plain(const JsonText& text, std::string* storage) {
  if (!text.escaped) return text.raw;
  storage->resize(text.raw.size());
  storage->resize(decode_json_text(text, reinterpret_cast<uint8_t*>(storage->data())));
  return *storage;
}

/// Appends fields to a header, whose texts are known to be UTF-8.
class HeaderWriter {
 public:
  explicit HeaderWriter(uint8_t* out) : out_(out) {}

  bool text(uint32_t field, std::string_view value) {
    if (!fits(value.size())) return false;
    put(field, value);
    return true;
  }
  bool attachment(std::string_view key, std::string_view value) {
    if (key.size() > kMaxHeaderBytes || value.size() > kMaxHeaderBytes || ++entries_ > kMaxAttachments) return false;
    const size_t inner = field_bytes(key) + field_bytes(value);
    if (!fits(inner)) return false;
    uint8_t* p = write_varint32(out_ + bytes_, (kAttachmentsField << 3) | kWireBytes);
    p = write_varint32(p, static_cast<uint32_t>(inner));
    bytes_ = static_cast<size_t>(p - out_);
    put(1, key);
    put(2, value);
    return true;
  }
  size_t bytes() const { return bytes_; }

 private:
  static constexpr size_t kMaxFrame = 6;  // tag and length
  static size_t field_bytes(std::string_view value) {
    return 1 + varint32_bytes(static_cast<uint32_t>(value.size())) + value.size();
  }
  bool fits(size_t n) const { return n <= kMaxHeaderBytes && bytes_ + n + kMaxFrame <= kMaxHeaderBytes; }
  void put(uint32_t field, std::string_view value) {
    uint8_t* p = write_varint32(out_ + bytes_, (field << 3) | kWireBytes);
    p = write_varint32(p, static_cast<uint32_t>(value.size()));
    if (!value.empty()) std::memcpy(p, value.data(), value.size());
    bytes_ = static_cast<size_t>(p - out_) + value.size();
  }

  uint8_t* out_;
  size_t bytes_ = 0;
  size_t entries_ = 0;
};

LegacyProblem write_props(std::string_view props, HeaderWriter* header) {
  JsonCursor json(reinterpret_cast<const uint8_t*>(props.data()), props.size());
  if (!json.enter_object()) return {};
  std::string key_storage;
  std::string value_storage;
  std::string hash_key;
  for (;;) {
    JsonText key;
    if (json.next(&key) != JsonCursor::Step::kMember) break;  // its end: it was checked before
    JsonText value;
    if (!json_text_of(json.value(), &value)) return {ec::kSerialisation, "a value in props is no string"};
    if (key.raw.size() > 6 * kMaxHeaderBytes || value.raw.size() > 6 * kMaxHeaderBytes) return kTooLarge;
    const std::string_view name = plain(key, &key_storage);
    const std::string_view text = plain(value, &value_storage);
    if (!header->attachment(name, text)) return kTooLarge;
    if (name == kHashProp) hash_key = text;
  }
  if (!hash_key.empty() && !header->text(kHashKeyField, hash_key)) return kTooLarge;
  return {};
}

void append_string(std::string_view text, std::string* out) {
  const size_t before = out->size();
  out->resize(before + json_string_bytes(text));
  write_json_string(reinterpret_cast<uint8_t*>(out->data()) + before, text);
}

/// Whether an entry of the same key follows: that one counts.
bool is_overridden(const uint8_t* at, const uint8_t* end, std::string_view key) {
  AttachmentView later;
  while (next_attachment(&at, end, &later)) {
    if (later.key == key) return true;
  }
  return false;
}

void append_props(const HeaderView& view, const uint8_t* header, size_t header_bytes, std::string* out) {
  const uint8_t* const end = header + header_bytes;
  bool any = false;
  bool hashed = false;
  const auto add = [&](std::string_view key, std::string_view value) {
    *out += any ? "," : ",\"props\":{";
    any = true;
    append_string(key, out);
    *out += ':';
    append_string(value, out);
  };
  AttachmentView entry;
  for (const uint8_t* at = header; next_attachment(&at, end, &entry);) {
    hashed = hashed || entry.key == kHashProp;
    if (!is_overridden(at, end, entry.key)) add(entry.key, entry.value);
  }
  if (!view.hash_key.empty() && !hashed) add(kHashProp, view.hash_key);
  if (any) *out += '}';
}

void append_number(int64_t n, std::string* out) {
  std::array<char, 24> digits;
  out->append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), n).ptr);
}

/// The code an old server gave, where it says the same as the status.
int64_t ec_of_reply(Code status, const uint8_t* header, size_t header_bytes) {
  const std::string_view text = find_attachment(header, header_bytes, kEcAttachment).value_or(std::string_view{});
  int64_t code = 0;
  const auto [behind, error] = std::from_chars(text.data(), text.data() + text.size(), code);
  const bool whole = !text.empty() && error == std::errc{} && behind == text.data() + text.size();
  return whole && status_of_ec(code) == status ? code : ec_of(status);
}

}  // namespace

LegacyProblem write_request_header(const LegacyRequest& request, uint8_t* out, size_t* bytes) {
  HeaderWriter header(out);
  if (request.action.raw.size() > 12 * kMaxNameBytes || request.method.raw.size() > 6 * kMaxNameBytes) return kNameTooLong;
  std::string storage;
  const std::string_view action = plain(request.action, &storage);
  const size_t hash = action.find('#');
  const std::string_view service = action.substr(0, hash);
  const std::string_view group = hash == std::string_view::npos ? std::string_view{} : action.substr(hash + 1);
  if (service.empty()) return {ec::kBadUri, "action names no service"};
  if (service.size() > kMaxNameBytes || group.size() > kMaxNameBytes) return kNameTooLong;
  header.text(kServiceField, service);
  if (!group.empty() && group != "*") header.text(kGroupField, group);
  const std::string_view method = plain(request.method, &storage);
  if (method.size() > kMaxNameBytes) return kNameTooLong;
  header.text(kMethodField, method);
  header.text(kContentTypeField, kJsonContentType);
  const LegacyProblem problem = write_props(request.props, &header);
  *bytes = header.bytes();
  return problem;
}

const char* append_request_json(const uint8_t* header, size_t header_bytes, std::string_view body, std::string* out) {
  HeaderView view;
  if (const char* problem = parse_header(header, header_bytes, &view)) return problem;
  const auto* const first = reinterpret_cast<const uint8_t*>(body.data());
  if (!is_json(first, body.size())) return "an old server takes its arguments as JSON, and the body is none";
  if (*skip_json_space(first, first + body.size()) != '[') return "an old server takes its arguments as a JSON array, and the body is none";
  if (view.service.find('#') != std::string_view::npos) return "a service with # in its name cannot be called in the legacy protocol";
  *out += "{\"action\":";
  std::string action(view.service);
  if (!view.group.empty() && view.group != "*") action.append("#").append(view.group);
  append_string(action, out);
  *out += ",\"params\":{\"m\":";
  append_string(view.method, out);
  *out += ",\"args\":";
  *out += body;
  *out += '}';
  append_props(view, header, header_bytes, out);
  *out += '}';
  return nullptr;
}

void append_reply_json(Code status, const uint8_t* header, size_t header_bytes, std::string_view body, std::string* out) {
  if (status == Code::kOk) {
    if (body.empty()) body = "null";
    if (!is_json(reinterpret_cast<const uint8_t*>(body.data()), body.size())) {
      append_failure_json(ec::kServerSerialisation, "the service answered with something that is not JSON", out);
      return;
    }
    *out += "{\"ec\":200,\"em\":\"\",\"result\":";
    *out += body;
    *out += '}';
    return;
  }
  HeaderView view;
  const bool readable = parse_header(header, header_bytes, &view) == nullptr;
  const std::string_view text = readable ? view.status_message : std::string_view{};
  append_failure_json(readable ? ec_of_reply(status, header, header_bytes) : ec_of(status), text, out);
}

void append_failure_json(int64_t code, std::string_view text, std::string* out) {
  *out += "{\"ec\":";
  append_number(code, out);
  *out += ",\"em\":";
  append_string(text, out);
  *out += ",\"result\":null}";
}

size_t write_reply_header(const LegacyReply& reply, uint8_t* out) {
  if (status_of_ec(reply.ec) == Code::kOk) return 0;
  constexpr size_t kMaxMessageBytes = 8 * 1024;
  JsonText em = reply.em;
  // Cut before it is decoded, so that a message of any length fits; a cut inside a character is mended by the writer.
  if (em.raw.size() > kMaxMessageBytes) em.raw = em.escaped ? std::string_view("(too long)") : em.raw.substr(0, kMaxMessageBytes);
  std::string storage;
  const size_t message_bytes = encode_status_message(out, kMaxHeaderBytes - 64, plain(em, &storage));
  HeaderWriter header(out + message_bytes);
  std::string code;
  append_number(reply.ec, &code);
  header.attachment(kEcAttachment, code);
  return message_bytes + header.bytes();
}

}  // namespace ringside
