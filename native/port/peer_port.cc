#include "native/port/peer_port.h"

#include "native/fd/peer_user.h"

namespace ringside {

namespace {

const char* word_for(PeerUser::Place place) {
  switch (place) {
    case PeerUser::Place::kKnown:
      return "known";
    case PeerUser::Place::kElsewhere:
      return "elsewhere";
    case PeerUser::Place::kCannotAsk:
      return "cannot-ask";
    case PeerUser::Place::kUnknown:
      break;
  }
  return "unknown";
}

Napi::Value tell_listening_user(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber()) {
    Napi::TypeError::New(env, "listeningUser(fd)").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const PeerUser user = listening_user(info[0].As<Napi::Number>().Int32Value());
  Napi::Object out = Napi::Object::New(env);
  out.Set("place", word_for(user.place));
  out.Set("uid", user.uid);
  out.Set("why", user.why);
  return out;
}

}  // namespace

void init_peer_port(Napi::Env env, Napi::Object exports) {
  exports.Set("listeningUser", Napi::Function::New<tell_listening_user>(env, "listeningUser"));
}

}  // namespace ringside
