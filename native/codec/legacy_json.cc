#include "native/codec/legacy_json.h"

#include <charconv>

#include "native/codec/legacy_status.h"
#include "native/codec/utf8.h"

namespace ringside {

namespace {

constexpr LegacyProblem kMalformed{ec::kSerialisation, "the request is not JSON in UTF-8 (or is nested more than 512 deep)"};

/// The members of `params`; false where it is malformed. Whatever else it is has neither method nor arguments.
bool read_params(JsonCursor* json, std::string_view* method, std::string_view* args) {
  *method = *args = {};
  if (!json->enter_object()) return json->value().data() != nullptr;
  for (;;) {
    JsonText key;
    const JsonCursor::Step step = json->next(&key);
    if (step != JsonCursor::Step::kMember) return step == JsonCursor::Step::kEnd;
    const std::string_view value = json->value();
    if (value.data() == nullptr) return false;
    if (key.is("m")) *method = value;
    if (key.is("args")) *args = value;
  }
}

bool is_absent(std::string_view value) { return value.empty() || value == "null"; }

}  // namespace

LegacyProblem parse_legacy_request(const uint8_t* p, size_t n, LegacyRequest* out) {
  *out = LegacyRequest{};
  if (!is_utf8(p, n)) return kMalformed;
  JsonCursor json(p, n);
  if (!json.enter_object()) {
    if (json.value().data() == nullptr || !json.at_end()) return kMalformed;
    return {ec::kSerialisation, "the request is JSON, but no object"};
  }
  std::string_view action;
  std::string_view method;
  std::string_view args;
  std::string_view props;
  for (;;) {
    JsonText key;
    const JsonCursor::Step step = json.next(&key);
    if (step == JsonCursor::Step::kBad) return kMalformed;
    if (step == JsonCursor::Step::kEnd) break;
    if (key.is("params")) {
      if (!read_params(&json, &method, &args)) return kMalformed;
      continue;
    }
    const std::string_view value = json.value();
    if (value.data() == nullptr) return kMalformed;
    if (key.is("action")) action = value;
    if (key.is("props")) props = value;
  }
  if (!json.at_end()) return kMalformed;

  if (is_absent(action)) return {ec::kNoUri, "the request has no action"};
  if (!json_text_of(action, &out->action) || out->action.raw.empty()) return {ec::kBadUri, "action is not the name of a service"};
  if (is_absent(method)) return {ec::kNoMethod, "the request names no method: params.m"};
  if (!json_text_of(method, &out->method) || out->method.raw.empty()) return {ec::kNoMethod, "params.m is not the name of a method"};
  if (!is_absent(args)) {
    if (args.front() != '[') return {ec::kSerialisation, "params.args is not an array"};
    out->args = args;
  }
  if (!is_absent(props)) {
    if (props.front() != '{') return {ec::kSerialisation, "props is not an object"};
    out->props = props;
  }
  return {};
}

const char* parse_legacy_reply(const uint8_t* p, size_t n, LegacyReply* out) {
  constexpr const char* kNotJson = "the reply is not JSON in UTF-8";
  *out = LegacyReply{};
  if (!is_utf8(p, n)) return kNotJson;
  JsonCursor json(p, n);
  if (!json.enter_object()) return "the reply is no JSON object";
  std::string_view code;
  std::string_view message;
  for (;;) {
    JsonText key;
    const JsonCursor::Step step = json.next(&key);
    if (step == JsonCursor::Step::kBad) return kNotJson;
    if (step == JsonCursor::Step::kEnd) break;
    const std::string_view value = json.value();
    if (value.data() == nullptr) return kNotJson;
    if (key.is("ec")) code = value;
    if (key.is("em")) message = value;
    if (key.is("result")) out->result = value;
  }
  if (!json.at_end()) return kNotJson;
  const auto [behind, error] = std::from_chars(code.data(), code.data() + code.size(), out->ec);
  if (code.empty() || error != std::errc{} || behind != code.data() + code.size()) return "the reply has no ec, or it is no whole number";
  if (!is_absent(message) && !json_text_of(message, &out->em)) return "em is no string";
  return nullptr;
}

}  // namespace ringside
