// The engine: one worker's links, tables and loop. It moves messages by following the flow table and asks TypeScript about
// what it has no flow for. Single-threaded: only apply-able command batches and event batches cross to other threads
// (worker.h), so nothing here locks. The request's walk is spread over files in its order:
//   engine.cc         the loop: wait, read, flush, close, time
//   open_links.cc     accept, hello, the switch to shared memory
//   share_links.cc    who finds room in the table of links
//   connect_upstreams.cc   links to other agents and old servers: connect, welcome, failures
//   close_links.cc    keep-alive, violations, what a link leaves behind, peers that were refused
//   legacy.cc         links of the legacy protocol: from the first bytes on, and the pool towards an old server
//   walk_request.cc   request -> flow -> endpoint -> forward, or park and ask
//   walk_wait.cc      requests that wait at their cluster for an instance
//   walk_stream.cc    bodies in pieces: chunks and credit, both ways
//   share_pending.cc  who may have how many requests under way
//   share_outbound.cc  who may add how much to what waits for a link
//   walk_reply.cc     reply, cancel, expiry, a link's death -> status
//   decide.cc         snapshots, flows and verdicts from TypeScript
//   go_away.cc        asking others to send no more, and being asked
//   report.cc         events and statistics for TypeScript
//   report_limits.cc  how much is used of each bound
// and a process hands its engine over to the next in handoff_*.cc.
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "native/engine/busy_poll.h"
#include "native/engine/clock.h"
#include "native/engine/cluster.h"
#include "native/engine/commands.h"
#include "native/engine/descriptor_reserve.h"
#include "native/engine/events.h"
#include "native/engine/flow_table.h"
#include "native/engine/handoff.h"
#include "native/engine/handoff_state.h"
#include "native/engine/link_shares.h"
#include "native/engine/options.h"
#include "native/engine/parked.h"
#include "native/engine/pending.h"
#include "native/engine/poll_tag.h"
#include "native/engine/timers.h"
#include "native/engine/upstreams.h"
#include "native/engine/waiting.h"
#include "native/link/legacy_link.h"
#include "native/link/link.h"
#include "native/link/turn_arena.h"

namespace ringside {

class StreamLink;

/// Counts since start, by name in report.cc.
struct EngineCounters {
  uint64_t requests = 0, replies = 0, one_ways = 0, cancels = 0;
  uint64_t flow_hits = 0, flow_misses = 0;
  uint64_t upcalls = 0, filter_upcalls = 0, control_requests = 0;
  uint64_t stale_decisions = 0, stale_replies = 0;
  uint64_t protocol_violations = 0, links_opened = 0, links_closed = 0, links_refused = 0;
  uint64_t connects = 0, connect_failures = 0, accept_failures = 0, segments_refused = 0;
  uint64_t deadlines = 0, repicks = 0, rejected = 0;
  uint64_t refused_pending_full = 0, refused_parked_full = 0, refused_upcalls_full = 0, refused_outbound_full = 0;
  uint64_t refused_miss_rate = 0;
  uint64_t dropped_records = 0, one_ways_dropped = 0;
  uint64_t streams = 0, chunks = 0, stale_chunks = 0, refused_streams_full = 0;
  uint64_t turns = 0;
  uint64_t batch_begun = 0, batch_ended = 0;
  uint64_t busy_polls = 0, busy_poll_hits = 0;
  uint64_t waited = 0, refused_waiting_full = 0;
  uint64_t links_crowded_out = 0;
};

/// How often a request that provably never left goes to another endpoint by itself.
inline constexpr uint8_t kMaxRepicks = 1;

inline constexpr std::string_view kNotRegistered = "no instance of this service is registered";

/// What may wait in the mailbox beside upcalls: records, statistics, links.
inline constexpr uint64_t kMaxOtherUnreadBytes = 4 << 20;

/// A status the engine answers by itself.
struct Verdict {
  Code code = Code::kOk;
  std::string_view text;
  bool not_run = false;
  bool in_stream = false;  // the reply has begun: this ends it
};

class Engine final : public FrameSink, public InstanceHooks {
 public:
  /// `wake` is called when the mailbox went from empty to not.
  Engine(EngineOptions options, const Clock* clock, EventMailbox* mailbox, std::function<void()> wake);
  ~Engine() override;

  /// Null, or why the engine cannot run (no descriptors).
  const char* init_error() const { return init_error_; }

  void apply(std::vector<Command> commands);
  /// One turn: waits for events at most until the next deadline or `max_wait_ms` (-1: no limit), handles them,
  /// flushes.
  void turn(int max_wait_ms);
  /// Written to by another thread to end the wait.
  int wake_fd() const { return wake_fd_.get(); }

  /// As of the turn's beginning.
  int64_t now_ns() const { return now_ns_; }
  const EngineOptions& options() const { return options_; }
  const EngineCounters& counters() const { return counters_; }
  /// Counts a change of the thread's scheduling class.
  /// Whether this engine is about to take over from another one, which perhaps stands still for it.
  bool is_taking_over() const { return taker_ != nullptr; }
  void count_scheduling(bool batch) { batch ? counters_.batch_begun++ : counters_.batch_ended++; }

  /// What another engine needs to go on with everything; between two turns. Changes nothing.
  EngineState export_state();
  /// Takes over what another engine exported; this one has clusters and flows but has served nothing yet. On an error it is of no use any
  /// more. Nothing that is shared with other processes changes before resume_imported().
  Result<Unit> import_state(EngineState& state, DescriptorStore* descriptors);
  /// Begins to serve what was imported.
  void resume_imported();
  /// Another process goes on with everything: closes descriptors without a word on any of them.
  void let_go();

  // FrameSink, InstanceHooks
  bool on_frame(Link* link, Frame& frame) override;
  uint32_t acquire_upstream(const std::string& address, LinkProtocol protocol) override {
    return upstreams_.acquire(address, protocol);
  }
  void release_upstream(uint32_t upstream) override;

 private:
  friend class HandoffGiver;
  friend class HandoffTaker;

  struct Listener {
    uint32_t id = 0;
    LinkKind kind = LinkKind::kTcp;
    LinkRole role = LinkRole::kPeer;
    UniqueFd fd;
    bool paused = false;  // out of descriptors: polled again after a while
    bool live = false;
    bool problem_told = false;  // TypeScript knows that it cannot accept
  };
  struct LinkSlot {
    std::unique_ptr<Link> link;
    uint32_t generation = 1;
  };
  struct Parting {  // a connection that was refused, until its peer knows
    UniqueFd fd;
    TimerNode timer;
    size_t discarded_bytes = 0;
    Error refusal{};  // not told yet, as the protocol has not shown
  };
  struct Caller {  // who opened a connection
    uint32_t uid = UINT32_MAX, pid = 0;
    CallerPlace place = CallerPlace::kNotAsked;
    std::string peer;  // for people
    Error refusal{Code::kOk, {}};
  };
  struct Waited {  // what is kept of a parked request
    FlowRef flow;
    int64_t arrived_ns;
    int64_t deadline_ns;
  };
  struct GoAwayRound {
    uint32_t id = 0;
    TimerNode timer;
    uint32_t asked = 0, waiting = 0;
    bool live = false;
  };

  // engine.cc
  void wait_and_read(int max_wait_ms);
  int wait_for_events(epoll_event* events, int ms);
  void read_link(Handle handle);
  void on_shm_socket(Link* link);
  void finish_turn();
  void flush_links();
  void expire_timers();
  void touch(Link* link);
  void update_writable(Link* link);
  bool poll_add(int fd, uint32_t events, uint64_t data);
  int wait_ms(int max_wait_ms) const;

  // admit_callers.cc
  Caller identify(const Listener& listener, int fd);
  void turn_off(UniqueFd fd, Error refusal);
  static void tell_refusal(int fd, const Error& refusal);

  // open_links.cc, connect_upstreams.cc, close_links.cc
  void accept_all(uint32_t listener_slot);
  Link* add_link(std::unique_ptr<Link> link);
  Link* find_link(Handle handle);
  bool on_hello(Link* link, Frame& frame);
  bool on_welcome(Link* link, Frame& frame);
  void refuse(Link* link, Code code, std::string_view text);
  void welcome(Link* link, std::string_view note);
  void switch_to_shm(Link* link);
  void take_over_facts(const Link& from, Link* to);
  void opened(Link* link);
  Link* connect_upstream(uint32_t upstream);
  void greet(Link* link);
  void upstream_failed(uint32_t upstream, const std::string& why, int64_t was_open_ns);
  void on_connected(Link* link);
  void close_soon(Link* link, std::string reason);
  void violation(Link* link, const char* reason);
  void destroy_link(Link* link);
  void on_link_timer(Link* link);
  void part_from(UniqueFd fd);
  Parting* keep_parting(UniqueFd* fd);
  void hear_out(uint32_t parting);
  void end_parting(Parting* parting);

  // share_links.cc
  static LinkSide side_of(const Link& link);
  bool has_slot() const;
  void count_in(const Link& link);
  void count_out(const Link& link);
  void free_slot(uint32_t slot, LinkSide side);
  void note_silent(const Link& link);
  template <typename Competes>
  bool end_silent(LinkSide side, Competes competes);
  std::string make_room(LinkKind kind, LinkRole role, uint32_t uid, const std::string& peer);

  // legacy.cc
  void switch_to_legacy(Link* link);
  std::unique_ptr<LegacyLink> legacy_caller(LinkKind kind, LinkRole role, std::unique_ptr<Channel> channel);
  std::unique_ptr<Link> restored_legacy_link(MovedLink& moved, UniqueFd socket);
  Link* legacy_link_of(const Upstream& upstream, const Link* from, const Frame& request);
  Sender sender_under_way(const Link& legacy) const;
  std::string legacy_info() const;
  LegacyLink::Bounds legacy_bounds() {
    return {&legacy_account_, options_.max_outbound_bytes, options_.max_legacy_message_bytes};
  }

  // walk_request.cc
  bool on_request(Link* link, Frame& frame);
  void route(Link* link, Frame& frame, Direction direction, const HeaderView& view, int64_t arrived_ns, bool again);
  void forward(Handle downstream, Frame& frame, FlowRef flow, uint32_t cluster, int64_t deadline_ns, int64_t arrived_ns,
               uint8_t attempt, const RequestName& name);
  uint32_t pick_instance(Cluster& cluster);
  bool usable(uint32_t instance);
  Link* link_of(uint32_t instance, Handle downstream, const Frame& request);
  /// Bytes of events that TypeScript has not read yet, and how many there may be before upcalls are refused.
  uint64_t unread_bytes() const { return mailbox_->waiting() + events_.size(); }
  uint64_t max_unread_bytes() const { return kMaxOtherUnreadBytes + options_.max_parked_bytes; }
  std::string why_unreachable(const Cluster& cluster);
  void park(Link* link, const Frame& frame, Direction direction, UpcallKind kind, std::string_view key, FlowRef flow,
            int64_t deadline_ns);
  double miss_tokens_of(const Link& link) const;
  bool take_miss_token(Link* link);
  int64_t deadline_of(const Frame& frame, uint32_t flow_timeout_ms, int64_t arrived_ns) const;

  // walk_wait.cc
  bool may_wait(const Cluster& cluster, const Frame& frame) const;
  void wait_at(const Cluster& cluster, Handle downstream, const Frame& frame, FlowRef flow, int64_t deadline_ns, int64_t arrived_ns);
  void retry_later(const Cluster& cluster);
  void resume_waiting(uint32_t cluster);
  void resume_one(uint32_t waiting);
  void stop_waiting(uint32_t waiting);
  void stop_waiting_of(Handle downstream);
  void expire_waiting(uint32_t waiting);
  std::string why_waiting(uint32_t cluster);

  // walk_reply.cc
  bool on_reply(Link* link, Frame& frame);
  bool on_streamed_reply(uint32_t slot, Frame& frame);
  void on_cancel(Link* link, const Frame& frame);
  void reply_to_request(Handle downstream, uint64_t request_id, FrameType type, const Verdict& verdict);
  void finish_pending(uint32_t slot, const Verdict& verdict);
  void close_pending(uint32_t slot, Code code, bool given_up = false);
  void lose_upstream(Link* link, uint32_t slot);
  void cancel_upstream(uint32_t slot, Code why);
  void count(FlowRef flow, uint8_t status, int64_t latency_ns);
  void expire_pending(uint32_t slot);
  bool is_answered_here(const HeldRequest& parked);
  void count_cancelled(const HeldRequest& held, Code why);
  void expire_parked(uint32_t slot);
  void append_control(Link* link, const FixedPart& fixed, std::string_view header = {}, bool must_take = false);

  // walk_stream.cc
  bool accept_stream(Handle downstream, const Frame& frame);
  bool on_chunk(Link* link, Frame& frame);
  bool pass_chunk(uint32_t slot, Frame& frame, bool is_reply);
  void hold_chunk(Link* link, const Frame& frame);
  bool is_within_credit(Link* link, const HeldRequest& held, const Frame& frame);
  void wait_chunk(Link* link, uint32_t waiting, const Frame& frame);
  void park_chunk(Link* link, uint32_t parked, const Frame& frame);
  bool on_credit(Link* link, const Frame& frame);

  // share_pending.cc
  bool may_await(const Link& from, const Link& to, const Frame& request, Sender* counted) const;

  // share_outbound.cc
  bool is_shared(const Link& to, uint64_t bytes) const;
  Sender sender_of(const Link& from, const Frame& request) const;
  bool append_shared(Link* to, Sender sender, const Frame& frame, uint64_t bytes);
  void begin_stream(BodyStream* stream, const Frame& frame, Link* to, Sender sender);
  void end_stream(BodyStream* stream, Link* to, Sender sender);
  void end_streams(Pending& pending);
  void share_imported_queue(Link* link);

  // decide.cc
  void on_command(SetCluster& command);
  void on_command(RemoveCluster& command);
  void on_command(SetService& command);
  void on_command(SetFlow& command);
  void on_command(RemoveService& command);
  void on_command(Resolve& command);
  void on_command(CloseLink& command);
  void on_command(ReadStats& command);
  void on_command(AwaitIdle& command);
  void on_command(CloseListener& command);
  void on_command(SetTimeouts& command);
  void on_command(AddListener& command);
  void on_command(OfferHandoff& command);
  void on_command(RefuseHandoff& command);
  void on_command(TakeOver& command);
  void on_command(TakeOverReady& command);
  void resolve_one(uint32_t parked, Resolve& verdict);
  void carry_out(Link* link, Frame& frame, const Waited& waited, const Resolve& verdict);
  void replace_header(Frame* frame, std::string_view header);
  void answer(Link* link, uint64_t request_id, const Resolve& verdict);

  // go_away.cc
  void on_command(GoAway& command);
  void on_go_away(Link* link, const Frame& frame);
  void on_go_away_ack(Link* link, const Frame& frame);
  void go_away_settled(uint32_t round);
  void turn_away(const Link& gone);
  std::vector<std::string> ends_of_upstream_links() const;

  // report.cc
  void report_upcall(Handle token, UpcallKind kind, Direction direction, const Link& link, const Frame& frame);
  void report_links();
  void report_listener(Listener* listener, std::string_view problem);
  void report_upstream(Upstream* upstream, std::string_view problem);
  void report_record(const Pending& pending, Code code, std::string_view text, int64_t latency_ns);
  void report_stats(uint32_t id);
  void write_limits(ByteWriter* out) const;
  void report_idle_if_asked();
  void publish_events();

  // handoff_export.cc, handoff_import.cc, handoff_give.cc, handoff_take.cc
  MovedLink export_link(const Link& link) const;
  PendingState export_pending(uint32_t slot, uint32_t flow_place);
  Result<Unit> import_listener(const ListenerState& state, DescriptorStore* descriptors);
  Result<Unit> import_link(MovedLink& moved, DescriptorStore* descriptors);
  void adopt_upstream(Link* link, const std::string& address);
  void import_accounts(const EngineState& state);
  Result<Unit> import_pendings(const EngineState& state);
  void resume_parked(const ParkedState& parked);
  void accept_successor(UniqueFd fd);
  void end_handoff_turn();
  void report_taken_over(double freeze_us);

  EngineOptions options_;
  const Clock* clock_;
  EventMailbox* mailbox_;
  std::function<void()> wake_;
  const char* init_error_ = nullptr;

  UniqueFd epoll_;
  UniqueFd wake_fd_;
  DescriptorReserve reserve_;
  int64_t now_ns_ = 0;
  Random random_;
  TurnArena arena_;
  TimerHeap timers_;

  LegacyAccount legacy_account_;

  std::vector<LinkSlot> links_;
  std::vector<uint32_t> free_links_;
  uint32_t live_links_ = 0;
  LinkShares link_shares_;
  std::array<std::deque<Handle>, kLinkSides> silent_;  // those that may have said nothing yet, in the order they came in
  std::unordered_map<uint32_t, uint32_t> links_of_uid_;
  std::unordered_map<uint32_t, uint32_t> tcp_links_of_uid_;  // of those, the ones over TCP
  std::unordered_map<std::string, uint32_t> links_of_address_;  // of peers, see count_in()
  std::vector<Listener> listeners_;
  Upstreams upstreams_;
  FlowTable flows_;
  ClusterTable clusters_;
  PendingTable pending_;
  ParkedTable parked_;
  WaitingTable waiting_;
  BusyPoll busy_poll_;
  std::array<GoAwayRound, 16> go_aways_;
  uint32_t turn_aways_ = 0;  // in the second that began then
  int64_t turn_aways_since_ns_ = 0;

  std::vector<Handle> dirty_;
  std::vector<Handle> read_again_;
  std::vector<Handle> reading_;  // read_again_ of the turn under way
  std::vector<Handle> closing_;
  std::vector<Handle> to_shm_;
  std::vector<Handle> to_legacy_;
  std::vector<Handle> up_unreported_;
  struct Departure {
    Handle handle;
    LinkSide side;
    std::string reason;
  };
  std::vector<Departure> down_unreported_;
  std::vector<AwaitIdle> idle_questions_;
  std::array<Parting, 64> partings_;  // more at a time are closed at once
  bool listeners_paused_ = false;
  int64_t listeners_resume_ns_ = 0;

  std::unique_ptr<HandoffGiver> giver_;
  std::unique_ptr<HandoffTaker> taker_;
  std::vector<ParkedState> imported_parked_;  // until resume_imported()
  bool let_go_ = false;

  uint32_t largest_body_bytes_ = 0;  // of the bodies in pieces so far

  EventBatch events_;
  uint32_t records_in_batch_ = 0;
  EngineCounters counters_;
};

inline Link* Engine::find_link(Handle handle) {
  if (handle.slot >= links_.size()) return nullptr;
  LinkSlot& slot = links_[handle.slot];
  return slot.generation == handle.generation ? slot.link.get() : nullptr;
}

}  // namespace ringside
