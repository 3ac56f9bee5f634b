// Waking the other end of a shared-memory link. App to agent: an eventfd that the agent only polls, edge-triggered,
// and never reads or writes, because an app that shares it can clear O_NONBLOCK and would block the agent's write for
// ever. Agent to app: a pipe whose only write end stays in the agent. A doorbell is a hint; nothing is lost if one rings
// twice. The process must ignore SIGPIPE (Node does): a hostile app may close its end of the pipe.
#pragma once

#include "native/base/status.h"
#include "native/fd/unique_fd.h"

namespace ringside {

/// The agent's doorbells for one link. `pipe_read` goes to the app and is closed here after it was sent.
struct AgentDoorbells {
  UniqueFd eventfd;
  UniqueFd pipe_read;
  UniqueFd pipe_write;

  static Result<AgentDoorbells> create();
};

/// App to agent. False: the descriptor is unusable. A full counter means already rung and is a success.
bool ring_eventfd(int fd);

/// Agent to app. False: nobody holds the read end any more. A full pipe means already rung and is a success.
bool ring_pipe(int fd);

}  // namespace ringside
