// Preloaded into agents by tests of handoffs (handoff-steps.ts compiles it): ends or stops the process at a named step, or lets it claim to
// read other versions of the state. It looks at the messages as they pass sendmsg and recvmsg: only a handoff speaks over a seqpacket socket,
// and each of its messages begins with its step, a protobuf varint in field 1 (native/engine/handoff_wire.h).
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { kHello = 1, kMaxHello = 1024 };
// TEST_HANDOFF_STEP: when (s: about to send, S: sent, R: received), the step's number, what (k: kill, s: stop); "S7k".
static char when, what;
static int step;
// TEST_HANDOFF_VERSIONS: the oldest and the newest version to claim, a digit each.
static char oldest, newest;

__attribute__((constructor)) static void read_orders(void) {
  const char* at = getenv("TEST_HANDOFF_STEP");
  if (at != NULL && strlen(at) == 3) {
    when = at[0];
    step = at[1] - '0';
    what = at[2];
  }
  const char* versions = getenv("TEST_HANDOFF_VERSIONS");
  if (versions != NULL && strlen(versions) == 2) {
    oldest = (char)(versions[0] - '0');
    newest = (char)(versions[1] - '0');
  }
}

static int is_handoff(int fd) {
  int type = 0;
  socklen_t bytes = sizeof type;
  return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &bytes) == 0 && type == SOCK_SEQPACKET;
}

static int step_of(const struct msghdr* message, size_t n) {
  const uint8_t* bytes = message->msg_iovlen == 1 ? message->msg_iov[0].iov_base : NULL;
  return bytes != NULL && n >= 2 && bytes[0] == 0x08 ? bytes[1] : 0;
}

static void at(char now, int this_step) {
  static int done;
  if (now != when || this_step != step || __atomic_exchange_n(&done, 1, __ATOMIC_RELAXED)) return;
  // To this very thread: with it the whole process stands before anything else is done here.
  syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), what == 'k' ? SIGKILL : SIGSTOP);
}

ssize_t sendmsg(int fd, const struct msghdr* message, int flags) {
  static ssize_t (*real)(int, const struct msghdr*, int);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "sendmsg");
  if (!is_handoff(fd)) return real(fd, message, flags);
  const int said = step_of(message, message->msg_iov[0].iov_len);
  at('s', said);
  struct msghdr other = *message;
  struct iovec whole = message->msg_iov[0];
  uint8_t hello[kMaxHello];
  // Fields 2 and 3 follow the step, one byte each.
  if (newest != 0 && said == kHello && whole.iov_len <= kMaxHello) {
    memcpy(hello, whole.iov_base, whole.iov_len);
    hello[3] = (uint8_t)newest;
    hello[5] = (uint8_t)oldest;
    whole.iov_base = hello;
    other.msg_iov = &whole;
  }
  const ssize_t sent = real(fd, &other, flags);
  if (sent > 0) at('S', said);
  return sent;
}

ssize_t recvmsg(int fd, struct msghdr* message, int flags) {
  static ssize_t (*real)(int, struct msghdr*, int);
  if (real == NULL) *(void**)&real = dlsym(RTLD_NEXT, "recvmsg");
  const ssize_t got = real(fd, message, flags);
  if (got > 0 && is_handoff(fd)) at('R', step_of(message, (size_t)got));
  return got;
}
