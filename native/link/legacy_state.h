// What a link of the legacy protocol keeps between two turns, as plain values: an engine that hands its links over writes it down, the next one
// goes on with it (native/engine/handoff_state.h). Bytes that were not cut into messages yet and bytes not sent yet travel beside it,
// like those of any other stream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "native/base/status.h"

namespace ringside {

/// What is left of a body that goes to the engine in pieces.
struct LegacyOutgoingState {
  uint64_t id = 0;
  uint32_t allowance_bytes = 0;
  std::string rest;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.id), a(2, s.allowance_bytes), a(3, s.rest);
  }
};

/// A body that comes from the engine in pieces.
struct LegacyIncomingState {
  uint64_t id = 0, position = 0;
  uint32_t owed_credit_bytes = 0;  // for what came, not granted yet
  std::string head;                // its first frame without the body
  std::string body;                // as far as it came
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.id), a(2, s.position), a(3, s.owed_credit_bytes), a(4, s.head), a(5, s.body);
  }
};

/// A reply that waits for those to earlier commands.
struct LegacyReplyState {
  uint64_t id = 0;
  std::string reply;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.id), a(2, s.reply);
  }
};

/// What stands between MULTI and EXEC.
struct LegacyTransactionState {
  bool spoilt = false;
  uint32_t count = 0;
  std::string commands;  // as they came, one behind the other
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.spoilt), a(2, s.count), a(3, s.commands);
  }
};

struct LegacyCallerState {
  bool admitted = false, ending = false, leaving = false;
  uint64_t oldest = 0, next = 0;
  std::vector<LegacyReplyState> replies;
  std::vector<uint64_t> given_up;
  std::vector<LegacyTransactionState> transaction;  // one or none; a build that does not know it refuses EXEC, and nothing has run
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.admitted), a(2, s.ending), a(3, s.leaving), a(4, s.oldest), a(5, s.next), a(6, s.replies), a(7, s.given_up);
    a(8, s.transaction);
  }
};

/// A request that waits until its server has replied to those before it.
struct LegacyWaitingState {
  uint64_t id = 0, position = 0;
  std::string frame;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.id), a(2, s.position), a(3, s.frame);
  }
};

/// A request whose refusal the engine has not been told yet.
struct LegacyRefusedState {
  uint64_t id = 0;
  Code code{};
  std::string text;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.id), a(2, s.code), a(3, s.text);
  }
};

struct LegacyCalleeState {
  bool busy = false, given_up = false;
  uint64_t busy_id = 0, busy_position = 0, appended = 0;
  std::vector<LegacyWaitingState> waiting;
  std::vector<LegacyRefusedState> refused;
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.busy), a(2, s.given_up), a(3, s.busy_id), a(4, s.busy_position), a(5, s.appended), a(6, s.waiting), a(7, s.refused);
  }
};

/// What both kinds have, and what one of them has.
struct LegacyState {
  std::vector<LegacyOutgoingState> outgoing;
  std::vector<LegacyIncomingState> incoming;
  std::vector<LegacyCallerState> caller;  // one or none
  std::vector<LegacyCalleeState> callee;  // none or one
  template <typename Archive, typename Self>
  static void fields(Archive& a, Self& s) {
    a(1, s.outgoing), a(2, s.incoming), a(3, s.caller), a(4, s.callee);
  }
};

}  // namespace ringside
