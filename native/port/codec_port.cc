// Lets JavaScript run the native codec on bytes of its own, so that differential tests can hold it against the
// TypeScript codec; nothing at run time calls this. Every function copies its input first: bytes that the caller
// could resize or change meanwhile are never parsed in place. Failures are values, not exceptions.
#include "native/port/codec_port.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "native/codec/frame.h"
#include "native/codec/legacy_json.h"
#include "native/codec/mesh_header.h"
#include "native/codec/mesh_patch.h"

namespace ringside {
namespace {

// Exactly as long as its contents, so that memory checkers see any read beyond.
std::optional<std::vector<uint8_t>> bytes_argument(const Napi::CallbackInfo& info) {
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    Napi::TypeError::New(info.Env(), "expected a Uint8Array").ThrowAsJavaScriptException();
    return std::nullopt;
  }
  const auto array = info[0].As<Napi::Uint8Array>();
  if (array.ByteLength() == 0) return std::vector<uint8_t>();
  return std::vector<uint8_t>(array.Data(), array.Data() + array.ByteLength());
}

Napi::String to_js(Napi::Env env, std::string_view text) {
  return Napi::String::New(env, text.data() == nullptr ? "" : text.data(), text.size());
}

Napi::Value failure(Napi::Env env, const std::string& reason) {
  auto out = Napi::Object::New(env);
  out.Set("problem", reason);
  return out;
}

// splitFrame(bytes): undefined (need more), { problem }, or the numbers of the first frame.
Napi::Value split_frame_js(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto bytes = bytes_argument(info);
  if (!bytes) return env.Undefined();
  FixedPart fixed;
  const char* reason = nullptr;
  switch (split_frame(bytes->data(), bytes->size(), &fixed, &reason)) {
    case Split::kNeedMore:
      return env.Undefined();
    case Split::kError:
      return failure(env, reason);
    case Split::kFrame:
      break;
  }
  auto out = Napi::Object::New(env);
  out.Set("type", static_cast<uint32_t>(fixed.type));
  out.Set("flags", static_cast<uint32_t>(fixed.flags));
  out.Set("status", static_cast<uint32_t>(fixed.status));
  out.Set("attempt", static_cast<uint32_t>(fixed.attempt));
  out.Set("headerBytes", fixed.header_bytes);
  out.Set("bodyBytes", fixed.body_bytes);
  out.Set("idLo", static_cast<uint32_t>(fixed.request_id));
  out.Set("idHi", static_cast<uint32_t>(fixed.request_id >> 32));
  out.Set("timeoutMs", fixed.timeout_ms);
  out.Set("value", fixed.value);
  return out;
}

// parseHeader(bytes, keys): { problem }, or { strings: the ten fields, entries, found: value or null per key }.
Napi::Value parse_header_js(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto bytes = bytes_argument(info);
  if (!bytes) return env.Undefined();
  HeaderView view;
  const char* reason = parse_header(bytes->data(), bytes->size(), &view);
  if (reason != nullptr) return failure(env, reason);
  const std::string_view fields[] = {view.service,      view.method,         view.group,       view.version,
                                     view.source_app,   view.status_message, view.traceparent, view.tracestate,
                                     view.content_type, view.hash_key};
  auto strings = Napi::Array::New(env, std::size(fields));
  for (uint32_t i = 0; i < std::size(fields); ++i) strings.Set(i, to_js(env, fields[i]));
  auto found = Napi::Array::New(env);
  if (info[1].IsArray()) {
    const auto keys = info[1].As<Napi::Array>();
    for (uint32_t i = 0; i < keys.Length(); ++i) {
      const std::string key = keys.Get(i).ToString().Utf8Value();
      const auto value = find_attachment(bytes->data(), bytes->size(), key);
      found.Set(i, value ? Napi::Value(to_js(env, *value)) : Napi::Value(env.Null()));
    }
  }
  auto out = Napi::Object::New(env);
  out.Set("strings", strings);
  out.Set("entries", view.attachment_entries);
  out.Set("found", found);
  return out;
}

Napi::Value patched(Napi::Env env, const std::vector<uint8_t>& bytes, size_t n) {
  return Napi::Buffer<uint8_t>::Copy(env, bytes.data(), n);
}

Napi::Value append_js(const Napi::CallbackInfo& info, std::vector<uint8_t> bytes) {
  const Napi::Env env = info.Env();
  const std::string value = info[2].ToString().Utf8Value();
  const size_t n = bytes.size();
  bytes.resize(n + value.size() + 16);
  auto result = append_field(bytes.data(), n, bytes.size(), info[1].As<Napi::Number>().Uint32Value(), value);
  return result ? patched(env, bytes, result.value()) : failure(env, result.error().text);
}

Napi::Value set_attachments_js(const Napi::CallbackInfo& info, const std::vector<uint8_t>& bytes) {
  const Napi::Env env = info.Env();
  const auto pairs = info[1].As<Napi::Array>();
  std::vector<std::pair<std::string, std::optional<std::string>>> texts(pairs.Length());
  std::vector<AttachmentChange> changes(pairs.Length());
  for (uint32_t i = 0; i < pairs.Length(); ++i) {
    const auto pair = pairs.Get(i).As<Napi::Array>();
    const Napi::Value value = pair.Get(1U);
    texts[i].first = pair.Get(0U).ToString().Utf8Value();
    if (!value.IsNull()) texts[i].second = value.ToString().Utf8Value();
    changes[i] = {texts[i].first, texts[i].second};
  }
  auto result = set_attachments(bytes.data(), bytes.size(), changes);
  return result ? patched(env, result.value(), result.value().size()) : failure(env, result.error().text);
}

// patchHeader(bytes, field, value) appends; patchHeader(bytes, [[key, value or null], ...]) changes attachments.
// Both answer the new header or { problem }.
Napi::Value patch_header_js(const Napi::CallbackInfo& info) {
  auto bytes = bytes_argument(info);
  if (!bytes) return info.Env().Undefined();
  if (info[1].IsNumber()) return append_js(info, std::move(*bytes));
  if (info[1].IsArray()) return set_attachments_js(info, *bytes);
  Napi::TypeError::New(info.Env(), "expected a field number or a list of changes").ThrowAsJavaScriptException();
  return info.Env().Undefined();
}

// isJson(bytes): whether the native reader takes them for one JSON value.
Napi::Value is_json_js(const Napi::CallbackInfo& info) {
  const auto bytes = bytes_argument(info);
  if (!bytes) return info.Env().Undefined();
  return Napi::Boolean::New(info.Env(), is_json(bytes->data(), bytes->size()));
}

// readLegacyRequest(bytes): { problem: the code }, or { action, method, args, props }, the first two decoded, the others as they stand.
Napi::Value read_legacy_request_js(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto bytes = bytes_argument(info);
  if (!bytes) return env.Undefined();
  LegacyRequest request;
  const LegacyProblem problem = parse_legacy_request(bytes->data(), bytes->size(), &request);
  auto out = Napi::Object::New(env);
  if (problem.ec != 0) {
    out.Set("problem", static_cast<double>(problem.ec));
    return out;
  }
  const auto decoded = [&](const JsonText& text) {
    std::string plain(text.raw.size(), '\0');
    plain.resize(decode_json_text(text, reinterpret_cast<uint8_t*>(plain.data())));
    return to_js(env, plain);
  };
  out.Set("action", decoded(request.action));
  out.Set("method", decoded(request.method));
  out.Set("args", to_js(env, request.args));
  out.Set("props", to_js(env, request.props));
  return out;
}

}  // namespace

void init_codec_port(Napi::Env env, Napi::Object exports) {
  auto codec = Napi::Object::New(env);
  codec.Set("splitFrame", Napi::Function::New<split_frame_js>(env));
  codec.Set("parseHeader", Napi::Function::New<parse_header_js>(env));
  codec.Set("patchHeader", Napi::Function::New<patch_header_js>(env));
  codec.Set("isJson", Napi::Function::New<is_json_js>(env));
  codec.Set("readLegacyRequest", Napi::Function::New<read_legacy_request_js>(env));
  exports.Set("codec", codec);
}

}  // namespace ringside
