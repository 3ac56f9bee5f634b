#include "native/port/notice_port.h"

#include "native/fd/service_notice.h"

namespace ringside {

namespace {

void send_notice(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsString() || !info[1].IsString()) {
    Napi::TypeError::New(env, "sendServiceNotice(address, text)").ThrowAsJavaScriptException();
    return;
  }
  const Result<Unit> sent = send_service_notice(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::String>().Utf8Value());
  if (!sent) Napi::Error::New(env, sent.error().text).ThrowAsJavaScriptException();
}

}  // namespace

void init_notice_port(Napi::Env env, Napi::Object exports) {
  exports.Set("sendServiceNotice", Napi::Function::New<send_notice>(env, "sendServiceNotice"));
}

}  // namespace ringside
