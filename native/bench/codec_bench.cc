// Nanoseconds per header parse, lookup, patch and fixed part, on a typical request header of about 100 bytes and
// on worse ones. Run by `npm run bench -- --scenario scale`, or by hand after a change to native/codec.
#include <string>
#include <vector>

#include "native/bench/measure.h"
#include "native/codec/frame.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"

using namespace ringside;

namespace {

using Bytes = std::vector<uint8_t>;

void add(Bytes* out, uint32_t field, std::string_view text) {
  const size_t n = out->size();
  out->resize(n + text.size() + 8);
  const auto result = append_field(out->data(), n, out->size(), field, text);
  out->resize(result ? result.value() : n);
}

Bytes typical_header() {
  Bytes out;
  add(&out, 1, "shop.CartService");
  add(&out, 2, "AddItem");
  add(&out, 5, "storefront");
  add(&out, 7, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
  return out;
}

template <typename Work>
void measure_codec(const std::string& name, size_t bytes, Work work) {
  constexpr int kCalls = 200'000;
  measure((name + ", " + std::to_string(bytes) + " bytes").c_str(), kCalls, 1, work);
}

uint64_t parse(const Bytes& header) {
  HeaderView view;
  const char* reason = parse_header(header.data(), header.size(), &view);
  return reason == nullptr ? view.service.size() + view.traceparent.size() : 1;
}

}  // namespace

int main() {
  const Bytes typical = typical_header();
  Bytes not_ascii = typical;
  add(&not_ascii, 10, "h\xC3\xA9lo\xC3\xAFse-42");
  const std::vector<AttachmentChange> three = {{"tenant", "blue"}, {"user", "4711"}, {"zone", "eu-west-1a"}};
  const Bytes attached = set_attachments(typical.data(), typical.size(), three).take();
  Bytes large = typical;
  add(&large, 8, std::string(4000, 'x'));

  measure_codec("parse_header, typical", typical.size(), [&] { return parse(typical); });
  measure_codec("parse_header, not all ASCII", not_ascii.size(), [&] { return parse(not_ascii); });
  measure_codec("parse_header, 3 attachments", attached.size(), [&] { return parse(attached); });
  measure_codec("parse_header, large", large.size(), [&] { return parse(large); });
  measure_codec("find_attachment, third of 3", attached.size(), [&]() -> uint64_t {
    const auto found = find_attachment(attached.data(), attached.size(), "zone");
    return found ? found->size() : 0;
  });

  Bytes patched = typical;
  patched.resize(typical.size() + 64);
  measure_codec("append_field", typical.size(), [&]() -> uint64_t {
    const auto result = append_field(patched.data(), typical.size(), patched.size(), 5, "storefront-agent");
    return result ? result.value() : 0;
  });
  const std::vector<AttachmentChange> change = {{"user", std::nullopt}, {"zone", "eu-west-1b"}};
  measure_codec("set_attachments, 2 changes", attached.size(), [&]() -> uint64_t {
    const auto result = set_attachments(attached.data(), attached.size(), change);
    return result ? result.value().size() : 0;
  });
  uint8_t fixed[kFixedBytes];
  FixedPart part;
  part.header_bytes = 100;
  encode_fixed(part, fixed);
  uint64_t id = 0;
  measure_codec("decode_fixed and patch id and timeout", kFixedBytes, [&]() -> uint64_t {
    patch_request_id(fixed, ++id);
    patch_timeout_ms(fixed, static_cast<uint32_t>(id));
    return decode_fixed(fixed, &part) == nullptr ? part.request_id & 1 : 0;
  });
  return 0;
}
