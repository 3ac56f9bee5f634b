#include "native/test/hostile/mesh_under_attack.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>

#include "native/codec/mesh_header.h"
#include "native/link/socket.h"

namespace ringside::testing {

namespace {

constexpr std::string_view kHonestPrefix = "honest";
constexpr int kTurnsForAReply = 600;

std::vector<Command> one(Command command) {
  std::vector<Command> batch;
  batch.push_back(std::move(command));
  return batch;
}

std::string describe(const OwnedFrame& frame) {
  HeaderView view;
  const bool readable = parse_header(frame.bytes.data() + kFixedBytes, frame.fixed.header_bytes, &view) == nullptr;
  return "status " + std::to_string(frame.fixed.status) + " " +
         (readable ? std::string(view.status_message) : "with a malformed header");
}

}  // namespace

EngineOptions MeshUnderAttack::small_bounds() {
  EngineOptions options;
  options.max_links = 64;
  options.max_links_per_uid = 48;
  options.max_pending = 256;
  options.max_parked = 64;
  options.max_parked_bytes = 1 << 20;
  options.max_flows = 64;
  options.max_clusters = 16;
  // Attackers call the honest server, too: its queue takes what they can send in a round.
  options.max_outbound_bytes = 4 << 20;
  options.max_body_bytes = 1 << 20;
  options.max_streams_per_link = 8;
  options.upcalls_per_second_per_link = 50;
  options.max_records = 64;
  options.ring_bytes = kMinRingBytes;
  options.allow_uids = options.loopback_uids = {static_cast<uint32_t>(::getuid())};
  return options;
}

MeshUnderAttack::MeshUnderAttack(EngineOptions options, uint64_t seed)
    : random_(seed), engine_(std::move(options), &clock_, &mailbox_, [] {}) {
  // As in Node: an app may close its end of the doorbell pipe.
  ::signal(SIGPIPE, SIG_IGN);
  char name[] = "/tmp/ringside-hostile-XXXXXX";
  EXPECT_NE(::mkdtemp(name), nullptr);
  directory_ = name;
  unix_path_ = directory_ + "/agent.sock";
  Listening on_unix = listen_unix(unix_path_, 0600, UINT32_MAX).take();
  Listening loopback = listen_tcp("127.0.0.1", 0).take();
  Listening inbound = listen_tcp("127.0.0.1", 0).take();
  loopback_port_ = loopback.port;
  inbound_port_ = inbound.port;
  std::vector<Command> listeners;
  listeners.push_back(AddListener{1, LinkKind::kUnix, LinkRole::kApp, std::move(on_unix.fd)});
  listeners.push_back(AddListener{2, LinkKind::kTcp, LinkRole::kApp, std::move(loopback.fd)});
  listeners.push_back(AddListener{3, LinkKind::kTcp, LinkRole::kPeer, std::move(inbound.fd)});
  engine_.apply(std::move(listeners));
  for (const char* service : {"echo", "trap", "filtered"}) install(service);

  server_ = std::make_unique<HonestApp>(unix_path_, "honest-server");
  caller_ = std::make_unique<HonestApp>(unix_path_, "honest-caller");
  turns(10);
  EXPECT_TRUE(server_->is_open()) << server_->reason();
  EXPECT_TRUE(caller_->is_open()) << caller_->reason();
}

MeshUnderAttack::~MeshUnderAttack() { std::filesystem::remove_all(directory_); }

void MeshUnderAttack::install(const std::string& service) {
  std::vector<Command> batch;
  for (const Direction direction : {Direction::kOutbound, Direction::kInbound}) {
    SetFlow flow;
    flow.direction = direction;
    flow.service = service;
    flow.action.cluster = service == "trap" ? kTrapCluster : kEchoCluster;
    flow.action.upcall = service == "filtered";
    batch.push_back(SetService{direction, service, {}});
    batch.push_back(std::move(flow));
  }
  engine_.apply(std::move(batch));
}

void MeshUnderAttack::set_endpoint(uint32_t cluster, const std::string& service, Handle link) {
  SetCluster command;
  command.spec.id = cluster;
  command.spec.service = service;
  command.spec.endpoints.push_back({.instance_id = link.pack(), .weight = 1, .local = true, .address = {}, .link = link});
  engine_.apply(one(std::move(command)));
}

void MeshUnderAttack::turn() {
  engine_.turn(0);
  if (server_ && caller_) serve();
  if (typescript_blocked_) return;
  read_events();
  while (!undecided_.empty() && random_.one_in(8)) {
    Resolve verdict;
    verdict.token = undecided_.back();
    undecided_.pop_back();
    verdict.verdict = static_cast<Resolve::Verdict>(random_.below(4));
    verdict.code = Code::kNotFound;
    verdict.cluster = random_.one_in(2) ? kEchoCluster : kTrapCluster;
    engine_.apply(one(std::move(verdict)));
  }
}

void MeshUnderAttack::read_events() {
  const std::vector<uint8_t> batch = mailbox_.take();
  ByteReader events(batch.data(), batch.size());
  while (events.left() > 0) {
    const auto type = static_cast<EventType>(events.u8());
    const std::string_view payload = events.bytes();
    ASSERT_TRUE(events.ok());
    ByteReader in(reinterpret_cast<const uint8_t*>(payload.data()), payload.size());
    if (type == EventType::kUpcall) on_upcall(&in);
    if (type == EventType::kLinkUp) on_link_up(&in);
    if (type == EventType::kStats) on_stats(&in);
    if (type == EventType::kLinkDown) {
      in.u64();
      std::string reason = in.text();
      if (reason.empty()) without_reason_++;
      // Numbers would make every reason one of its own.
      for (char& c : reason) c = c >= '0' && c <= '9' ? '#' : c;
      reasons_[reason]++;
    }
  }
}

void MeshUnderAttack::on_upcall(ByteReader* in) {
  Resolve verdict;
  verdict.token = in->u64();
  const auto kind = static_cast<UpcallKind>(in->u8());
  in->u8();  // direction
  const Handle link = Handle::unpack(in->u64());
  in->u8();   // place
  in->u32();  // uid
  in->u8();   // type
  in->u32();  // timeout
  const std::string_view header = in->bytes();
  HeaderView view;
  ASSERT_EQ(parse_header(reinterpret_cast<const uint8_t*>(header.data()), header.size(), &view), nullptr);
  const std::string service(view.service);
  (void)link;
  if (kind == UpcallKind::kFilter) {
    verdict.verdict = Resolve::Verdict::kForward;
    verdict.cluster = kEchoCluster;
  } else if (service == "echo" || service == "trap" || service == "filtered") {
    install(service);
    verdict.verdict = Resolve::Verdict::kLookUp;
  } else if (service.starts_with(kHonestPrefix) || random_.one_in(2)) {
    verdict.verdict = Resolve::Verdict::kReject;
    verdict.code = Code::kNotFound;
    verdict.text = "nobody offers it";
  } else {
    if (random_.one_in(2)) install(service);
    undecided_.push_back(verdict.token);
    return;
  }
  engine_.apply(one(std::move(verdict)));
}

void MeshUnderAttack::on_link_up(ByteReader* in) {
  const Handle link = Handle::unpack(in->u64());
  in->u8();  // kind
  const auto role = static_cast<LinkRole>(in->u8());
  in->bytes();
  const std::string app = in->text();
  if (role != LinkRole::kApp) return;
  if (app == "honest-server") set_endpoint(kEchoCluster, "echo", link);
  if (!app.starts_with(kHonestPrefix)) set_endpoint(kTrapCluster, "trap", link);
}

void MeshUnderAttack::on_stats(ByteReader* in) {
  in->u32();
  const uint32_t counters = in->u32();
  for (uint32_t i = 0; i < counters; i++) {
    in->bytes();
    in->u64();
  }
  const uint32_t limits = in->u32();
  for (uint32_t i = 0; i < limits; i++) {
    const std::string name = in->text();
    used_[name] = in->u64();
    limits_[name] = in->u64();
  }
  largest_outbound_bytes_ = 0;
  const uint32_t links = in->u32();
  for (uint32_t i = 0; i < links; i++) {
    in->u64();
    for (int skipped = 0; skipped < 3; skipped++) in->u8();
    in->bytes();
    in->bytes();
    for (int skipped = 0; skipped < 5; skipped++) in->u64();
    in->u32();
    in->u32();
    largest_outbound_bytes_ = std::max<size_t>(largest_outbound_bytes_, in->u64());
  }
  EXPECT_TRUE(in->ok());
  stats_there_ = true;
}

Usage MeshUnderAttack::usage() {
  stats_there_ = false;
  engine_.apply(one(ReadStats{1}));
  read_events();
  EXPECT_TRUE(stats_there_);
  return used_;
}

/// The server answers what it has, or keeps it while a call is to stay open.
void MeshUnderAttack::serve() {
  for (OwnedFrame& frame : server_->poll()) {
    if (frame.fixed.type == FrameType::kRequest) held_.push_back(std::move(frame));
  }
  for (OwnedFrame& frame : caller_->poll()) to_caller_.push_back(std::move(frame));
  if (!serving_) return;
  std::vector<OwnedFrame> requests;
  requests.swap(held_);
  for (OwnedFrame& request : requests) {
    if (request.fixed.flags & kFlagMore) continue;  // bodies in pieces end at their deadline here
    const Bytes reply =
        frame_of({.type = FrameType::kResponse, .request_id = request.fixed.request_id}, {}, request.body());
    if (!server_->send(reply)) held_.push_back(std::move(request));
  }
}

std::optional<OwnedFrame> MeshUnderAttack::await_reply(uint64_t id, int turns_at_most) {
  for (int i = 0; i < turns_at_most; i++) {
    for (const OwnedFrame& frame : to_caller_) {
      if (frame.fixed.type != FrameType::kResponse || frame.fixed.request_id != id) continue;
      OwnedFrame found = frame;
      to_caller_.clear();
      return found;
    }
    turn();
  }
  return std::nullopt;
}

void MeshUnderAttack::begin_call() {
  serving_ = false;
  open_call_ = next_id_++;
  id_at_server_ = 0;
  const std::string body = "call " + std::to_string(open_call_);
  ASSERT_TRUE(caller_->send(request_of(open_call_, "echo", body, 30'000)));
  for (int i = 0; i < kTurnsForAReply && id_at_server_ == 0; i++) {
    turn();
    for (const OwnedFrame& request : held_) {
      if (request.body() == body) id_at_server_ = request.fixed.request_id;
    }
    for (const OwnedFrame& frame : to_caller_) {
      ASSERT_FALSE(frame.fixed.request_id == open_call_) << "answered before it was served: " << describe(frame);
    }
  }
  ASSERT_NE(id_at_server_, 0u) << "the request did not arrive";
}

std::string MeshUnderAttack::finish_call() {
  serving_ = true;
  const std::optional<OwnedFrame> reply = await_reply(open_call_, kTurnsForAReply);
  if (!reply) return "no reply; the caller's link: " + caller_->reason() + ", the server's: " + server_->reason();
  if (reply->fixed.status != 0) return describe(*reply);
  if (reply->body() != "call " + std::to_string(open_call_)) return "another body: " + reply->body().substr(0, 80);
  return {};
}

std::string MeshUnderAttack::call_unknown() {
  const uint64_t id = next_id_++;
  if (!caller_->send(request_of(id, "honest-" + std::to_string(id), "", 30'000))) return "the ring is full";
  const std::optional<OwnedFrame> reply = await_reply(id, kTurnsForAReply);
  if (!reply) return "no reply";
  return reply->fixed.status == static_cast<uint8_t>(Code::kNotFound) ? "" : describe(*reply);
}

std::string MeshUnderAttack::call_trap(uint32_t timeout_ms) {
  const uint64_t id = next_id_++;
  if (!caller_->send(request_of(id, "trap", std::string(random_.below(5000), 't'), timeout_ms))) return "the ring is full";
  std::optional<OwnedFrame> reply = await_reply(id, 4);
  if (reply) return {};
  clock_.advance_ms(timeout_ms + 1);
  reply = await_reply(id, kTurnsForAReply);
  return reply ? "" : "no status at its deadline";
}

}  // namespace ringside::testing
