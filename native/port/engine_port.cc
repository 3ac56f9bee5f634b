#include "native/port/engine_port.h"

#include <uv.h>

#include <memory>
#include <string>
#include <utility>

#include "native/engine/worker.h"
#include "native/link/socket.h"

namespace ringside {

namespace {

/// What outlives the JavaScript object until libuv has let go of the async handle.
struct EngineHost {
  napi_env env = nullptr;
  uv_async_t async{};
  std::unique_ptr<Worker> worker;
  Napi::FunctionReference on_events;
  Napi::ObjectReference receiver;  // napi_make_callback needs an object
  napi_async_cleanup_hook_handle cleanup = nullptr;
  uint32_t next_listener = 1;
  bool closed = false;
};

void deliver(uv_async_t* async) {
  auto* host = static_cast<EngineHost*>(async->data);
  if (host->closed) return;
  std::vector<uint8_t> events = host->worker->take_events();
  if (events.empty()) return;
  Napi::Env env(host->env);
  Napi::HandleScope scope(env);
  const Napi::Value buffer = Napi::Buffer<uint8_t>::Copy(env, events.data(), events.size());
  host->on_events.MakeCallback(host->receiver.Value(), {buffer});
  // With no JavaScript frame below us a thrown error would go nowhere: give it to the process like Node does.
  if (env.IsExceptionPending()) napi_fatal_exception(env, env.GetAndClearPendingException().Value());
}

void on_async_closed(uv_handle_t* handle) {
  auto* host = static_cast<EngineHost*>(handle->data);
  const napi_async_cleanup_hook_handle cleanup = host->cleanup;
  delete host;
  if (cleanup != nullptr) napi_remove_async_cleanup_hook(cleanup);
}

void close_host(EngineHost* host) {
  if (host->closed) return;
  host->closed = true;
  host->worker->stop();
  host->on_events.Reset();
  host->receiver.Reset();
  uv_close(reinterpret_cast<uv_handle_t*>(&host->async), on_async_closed);
}

void on_env_cleanup(napi_async_cleanup_hook_handle, void* data) { close_host(static_cast<EngineHost*>(data)); }

uint32_t number_or(const Napi::Object& options, const char* name, uint32_t fallback) {
  const Napi::Value value = options.Get(name);
  return value.IsNumber() ? value.As<Napi::Number>().Uint32Value() : fallback;
}

EngineOptions read_options(const Napi::Object& in) {
  EngineOptions out;
  if (in.Get("app").IsString()) out.app = in.Get("app").As<Napi::String>().Utf8Value();
  if (in.Get("loopbackToken").IsString()) out.loopback_token = in.Get("loopbackToken").As<Napi::String>().Utf8Value();
  if (in.Get("batchScheduling").IsBoolean()) {
    out.batch_scheduling = in.Get("batchScheduling").As<Napi::Boolean>().Value();
  }
  if (in.Get("shmEnabled").IsBoolean()) out.shm_enabled = in.Get("shmEnabled").As<Napi::Boolean>().Value();
  const std::pair<const char*, uint32_t*> numbers[] = {
      {"maxLinks", &out.max_links},
      {"maxLinksPerUid", &out.max_links_per_uid},
      {"maxLinksPerAddress", &out.max_links_per_address},
      {"maxPending", &out.max_pending},
      {"maxParked", &out.max_parked},
      {"maxWaiting", &out.max_waiting},
      {"maxFlows", &out.max_flows},
      {"maxClusters", &out.max_clusters},
      {"maxBodyBytes", &out.max_body_bytes},
      {"maxStreamsPerLink", &out.max_streams_per_link},
      {"maxLegacyMessageBytes", &out.max_legacy_message_bytes},
      {"legacyConnectionsPerInstance", &out.legacy_connections_per_instance},
      {"upcallsPerSecondPerLink", &out.upcalls_per_second_per_link},
      {"maxRecords", &out.max_records},
      {"defaultTimeoutMs", &out.default_timeout_ms},
      {"maxTimeoutMs", &out.max_timeout_ms},
      {"connectTimeoutMs", &out.connect_timeout_ms},
      {"openTimeoutMs", &out.open_timeout_ms},
      {"keepaliveMs", &out.keepalive_ms},
      {"slowRequestMs", &out.slow_request_ms},
      {"takeoverDeadlineMs", &out.takeover_deadline_ms},
      {"ringBytes", &out.ring_bytes},
      {"busyPollUs", &out.busy_poll_us},
  };
  for (const auto& [name, field] : numbers) *field = number_or(in, name, *field);
  const std::pair<const char*, uint64_t*> large_numbers[] = {
      {"maxOutboundBytes", &out.max_outbound_bytes},
      {"maxParkedBytes", &out.max_parked_bytes},
      {"maxWaitingBytes", &out.max_waiting_bytes},
      {"maxLegacyBytes", &out.max_legacy_bytes},
  };
  for (const auto& [name, field] : large_numbers) {
    if (in.Get(name).IsNumber()) *field = static_cast<uint64_t>(in.Get(name).As<Napi::Number>().Int64Value());
  }
  if (in.Get("seed").IsNumber()) out.seed = static_cast<uint64_t>(in.Get("seed").As<Napi::Number>().Int64Value());
  const std::pair<const char*, std::vector<uint32_t>*> users[] = {
      {"allowUids", &out.allow_uids},
      {"loopbackUids", &out.loopback_uids},
  };
  for (const auto& [name, field] : users) {
    if (!in.Get(name).IsArray()) continue;
    const Napi::Array uids = in.Get(name).As<Napi::Array>();
    for (uint32_t i = 0; i < uids.Length(); i++) field->push_back(uids.Get(i).ToNumber().Uint32Value());
  }
  if (in.Get("loopbackAnyUid").IsBoolean()) out.loopback_any_uid = in.Get("loopbackAnyUid").As<Napi::Boolean>().Value();
  if (in.Get("placePeers").IsBoolean()) out.place_peers = in.Get("placePeers").As<Napi::Boolean>().Value();
  return out;
}

class EngineObject : public Napi::ObjectWrap<EngineObject> {
 public:
  static void define(Napi::Env env, Napi::Object exports) {
    exports.Set("Engine", DefineClass(env, "Engine",
                                      {InstanceMethod<&EngineObject::submit>("submit"),
                                       InstanceMethod<&EngineObject::listen>("listen"),
                                       InstanceMethod<&EngineObject::close>("close")}));
  }

  explicit EngineObject(const Napi::CallbackInfo& info) : Napi::ObjectWrap<EngineObject>(info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsObject() || !info[1].IsFunction()) {
      Napi::TypeError::New(env, "new Engine(options, onEvents)").ThrowAsJavaScriptException();
      return;
    }
    auto host = std::make_unique<EngineHost>();
    host->env = env;
    uv_async_t* async = &host->async;
    host->worker = std::make_unique<Worker>(read_options(info[0].As<Napi::Object>()), [async] { uv_async_send(async); });
    uv_loop_t* loop = nullptr;
    if (napi_get_uv_event_loop(env, &loop) != napi_ok || uv_async_init(loop, async, deliver) != 0) {
      Napi::Error::New(env, "the event loop takes no more handles").ThrowAsJavaScriptException();
      return;
    }
    host_ = host.release();
    async->data = host_;
    host_->on_events = Napi::Persistent(info[1].As<Napi::Function>());
    host_->receiver = Napi::Persistent(Napi::Object::New(env));
    napi_add_async_cleanup_hook(env, on_env_cleanup, host_, &host_->cleanup);
    const Result<Unit> started = host_->worker->start();
    if (!started) {
      close_host(std::exchange(host_, nullptr));
      Napi::Error::New(env, started.error().text).ThrowAsJavaScriptException();
    }
  }

  // Collected without close(): the worker must not outlive what it reports to.
  ~EngineObject() override {
    if (host_ != nullptr) close_host(host_);
  }

 private:
  bool check_open(Napi::Env env) {
    if (host_ != nullptr && !host_->closed) return true;
    Napi::Error::New(env, "the engine is closed").ThrowAsJavaScriptException();
    return false;
  }

  Napi::Value submit(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!check_open(env)) return env.Undefined();
    if (!info[0].IsBuffer()) {
      Napi::TypeError::New(env, "submit(Buffer)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const auto batch = info[0].As<Napi::Buffer<uint8_t>>();
    const Result<Unit> submitted = host_->worker->submit(batch.Data(), batch.Length());
    if (!submitted) Napi::Error::New(env, submitted.error().text).ThrowAsJavaScriptException();
    return env.Undefined();
  }

  /// listen({role: 'app', path, mode, group} | {role: 'app' | 'peer', host, port} | {role: 'successor', path}) -> {id, port}
  Napi::Value listen(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!check_open(env)) return env.Undefined();
    if (!info[0].IsObject()) {
      Napi::TypeError::New(env, "listen(object)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const Napi::Object spec = info[0].As<Napi::Object>();
    const bool is_unix = spec.Get("path").IsString();
    const std::string role = spec.Get("role").ToString().Utf8Value();
    Result<Listening> listening =
        role == "successor" ? listen_successor(spec.Get("path").ToString().Utf8Value())
        : is_unix ? listen_unix(spec.Get("path").As<Napi::String>().Utf8Value(), number_or(spec, "mode", 0600),
                              number_or(spec, "group", UINT32_MAX))
                : listen_tcp(spec.Get("host").ToString().Utf8Value(), static_cast<uint16_t>(number_or(spec, "port", 0)));
    if (!listening) {
      Napi::Error::New(env, listening.error().text).ThrowAsJavaScriptException();
      return env.Undefined();
    }
    AddListener command;
    command.id = host_->next_listener++;
    command.kind = is_unix ? LinkKind::kUnix : LinkKind::kTcp;
    command.role = role == "successor" ? LinkRole::kSuccessor : role == "peer" ? LinkRole::kPeer : LinkRole::kApp;
    command.fd = std::move(listening.value().fd);
    Napi::Object result = Napi::Object::New(env);
    result.Set("id", command.id);
    result.Set("port", listening.value().port);
    host_->worker->post(std::move(command));
    return result;
  }

  Napi::Value close(const Napi::CallbackInfo& info) {
    if (host_ != nullptr) close_host(std::exchange(host_, nullptr));
    return info.Env().Undefined();
  }

  EngineHost* host_ = nullptr;
};

}  // namespace

void init_engine_port(Napi::Env env, Napi::Object exports) { EngineObject::define(env, exports); }

}  // namespace ringside
