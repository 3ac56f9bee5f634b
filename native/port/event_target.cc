// See event_target.h.
#include "native/port/event_target.h"

#include <string>

namespace ringside {

bool EventTarget::attach(Napi::Object target, const char* resource_name, std::initializer_list<const char*> methods) {
  const Napi::Env env = target.Env();
  env_ = env;
  size_t next = 0;
  for (const char* name : methods) {
    const Napi::Value method = target.Get(name);
    if (env.IsExceptionPending() || !method.IsFunction()) {
      if (!env.IsExceptionPending()) {
        Napi::TypeError::New(env, std::string("events.") + name + " must be a function").ThrowAsJavaScriptException();
      }
      release();
      return false;
    }
    if (napi_create_reference(env_, method, 1, &methods_[next++]) != napi_ok) return false;
  }
  if (napi_create_reference(env_, target, 1, &target_) != napi_ok) return false;
  return napi_async_init(env_, target, Napi::String::New(env, resource_name), &context_) == napi_ok;
}

void EventTarget::call(size_t method, std::initializer_list<napi_value> arguments) {
  if (context_ == nullptr) return;
  napi_value target = nullptr;
  napi_value function = nullptr;
  napi_value result = nullptr;
  if (napi_get_reference_value(env_, target_, &target) != napi_ok) return;
  if (napi_get_reference_value(env_, methods_[method], &function) != napi_ok) return;
  napi_make_callback(env_, context_, target, function, arguments.size(), arguments.begin(), &result);
  bool pending = false;
  napi_value error = nullptr;
  if (napi_is_exception_pending(env_, &pending) != napi_ok || !pending) return;
  if (napi_get_and_clear_last_exception(env_, &error) == napi_ok) napi_fatal_exception(env_, error);
}

void EventTarget::release() {
  for (napi_ref& method : methods_) {
    if (method != nullptr) napi_delete_reference(env_, method);
    method = nullptr;
  }
  if (target_ != nullptr) napi_delete_reference(env_, target_);
  target_ = nullptr;
  if (context_ != nullptr) napi_async_destroy(env_, context_);
  context_ = nullptr;
}

}  // namespace ringside
