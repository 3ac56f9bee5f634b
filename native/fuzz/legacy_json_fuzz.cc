// Fuzzes the legacy protocol's JSON: no read beyond the bytes given, and whatever is accepted makes a header that the mesh accepts
// and comes back as JSON that says the same. No body may change the action it is sent with.
#include <string>
#include <vector>

#include "native/base/limits.h"
#include "native/codec/legacy_json.h"
#include "native/codec/legacy_mesh.h"
#include "native/codec/mesh_header.h"
#include "native/fuzz/require.h"

using namespace ringside;

namespace {

void check_request(const std::vector<uint8_t>& input) {
  LegacyRequest request;
  if (parse_legacy_request(input.data(), input.size(), &request).ec != 0) return;
  REQUIRE(is_json(input.data(), input.size()));
  std::vector<uint8_t> header(kMaxHeaderBytes);
  size_t n = 0;
  if (write_request_header(request, header.data(), &n).ec != 0) return;
  header.resize(n);
  HeaderView view;
  REQUIRE(parse_header(header.data(), n, &view) == nullptr);
  std::string json;
  REQUIRE(append_request_json(header.data(), n, request.args, &json) == nullptr);
  const std::vector<uint8_t> again(json.begin(), json.end());
  LegacyRequest second;
  REQUIRE(parse_legacy_request(again.data(), again.size(), &second).ec == 0);
  REQUIRE(second.args == request.args);
  std::vector<uint8_t> second_header(kMaxHeaderBytes);
  REQUIRE(write_request_header(second, second_header.data(), &n).ec == 0);
  HeaderView second_view;
  REQUIRE(parse_header(second_header.data(), n, &second_view) == nullptr);
  REQUIRE(second_view.service == view.service && second_view.group == view.group && second_view.method == view.method);
}

void check_body(const std::vector<uint8_t>& input) {
  const uint8_t header[] = {0x0A, 1, 's', 0x12, 1, 'm'};
  std::string json;
  const std::string_view body(reinterpret_cast<const char*>(input.data()), input.size());
  if (append_request_json(header, sizeof header, body, &json) != nullptr) return;
  LegacyRequest request;
  REQUIRE(parse_legacy_request(reinterpret_cast<const uint8_t*>(json.data()), json.size(), &request).ec == 0);
  REQUIRE(request.action.raw == "s" && request.method.raw == "m" && request.props.empty());
}

void check_reply(const std::vector<uint8_t>& input) {
  LegacyReply reply;
  if (parse_legacy_reply(input.data(), input.size(), &reply) != nullptr) return;
  std::vector<uint8_t> header(kMaxHeaderBytes);
  const size_t n = write_reply_header(reply, header.data());
  HeaderView view;
  REQUIRE(parse_header(header.data(), n, &view) == nullptr);
  REQUIRE(is_json(reinterpret_cast<const uint8_t*>(reply.result.data()), reply.result.size()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::vector<uint8_t> input(data, data + size);
  check_request(input);
  check_body(input);
  check_reply(input);
  std::string json;
  append_reply_json(Code::kOk, nullptr, 0, {reinterpret_cast<const char*>(data), size}, &json);
  REQUIRE(is_json(reinterpret_cast<const uint8_t*>(json.data()), json.size()));
  return 0;
}
