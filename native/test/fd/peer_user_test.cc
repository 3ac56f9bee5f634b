// Who is at the other end of a connection: over IPv4, IPv6 and IPv4 within IPv6, for whoever closes early, for other users and in user namespaces.
// What this machine or user does not permit is skipped, and said.
#include "native/fd/peer_user.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <functional>
#include <string>

#include "native/fd/unique_fd.h"

namespace ringside {
namespace {

using Place = PeerUser::Place;
constexpr uid_t kStranger = 12'345;

struct At {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  const sockaddr* name() const { return reinterpret_cast<const sockaddr*>(&storage); }
  sockaddr* name() { return reinterpret_cast<sockaddr*>(&storage); }
};

At at(const char* host, uint16_t port) {
  At to;
  if (auto* const v4 = reinterpret_cast<sockaddr_in*>(&to.storage); inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    to.bytes = sizeof *v4;
    return to;
  }
  auto* const v6 = reinterpret_cast<sockaddr_in6*>(&to.storage);
  EXPECT_EQ(inet_pton(AF_INET6, host, &v6->sin6_addr), 1);
  v6->sin6_family = AF_INET6;
  v6->sin6_port = htons(port);
  to.bytes = sizeof *v6;
  return to;
}

UniqueFd make_socket(const At& to) {
  UniqueFd fd(::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  return fd;
}

UniqueFd dial(const At& to) {
  UniqueFd fd = make_socket(to);
  if (::connect(fd.get(), to.name(), to.bytes) != 0) fd.reset();
  return fd;
}

struct Door {
  UniqueFd fd;
  uint16_t port = 0;

  explicit Door(const char* host = "127.0.0.1", uint16_t wanted = 0) {
    At here = at(host, wanted);
    fd = make_socket(here);
    if (::bind(fd.get(), here.name(), here.bytes) != 0 || ::listen(fd.get(), 8) != 0) {
      fd.reset();
      return;
    }
    ::getsockname(fd.get(), here.name(), &here.bytes);
    port = ntohs(reinterpret_cast<sockaddr_in*>(&here.storage)->sin_port);
  }
  UniqueFd accept() const { return UniqueFd(::accept4(fd.get(), nullptr, nullptr, SOCK_CLOEXEC)); }
};

/// Another process that does `work`, says so, and stays until its end of life; work that fails ends it with 1.
class Other {
 public:
  explicit Other(const std::function<bool()>& work) {
    int ready[2], stay[2];
    EXPECT_EQ(::pipe(ready) + ::pipe(stay), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(stay[1]);
      const bool done = work();
      if (done) (void)!::write(ready[1], "x", 1);
      char byte;
      if (done) (void)!::read(stay[0], &byte, 1);
      ::_exit(done ? 0 : 1);
    }
    ::close(ready[1]);
    ::close(stay[0]);
    stay_.reset(stay[1]);
    const UniqueFd from(ready[0]);
    char byte;
    did_ = ::read(from.get(), &byte, 1) == 1;
  }
  ~Other() {
    stay_.reset();
    ::waitpid(pid_, nullptr, 0);
  }
  bool did() const { return did_; }

 private:
  pid_t pid_ = -1;
  UniqueFd stay_;
  bool did_ = false;
};

bool become(uid_t uid) {
  // Without the last one the files under /proc/self would stay root's.
  return ::setresgid(uid, uid, uid) == 0 && ::setresuid(uid, uid, uid) == 0 && ::prctl(PR_SET_DUMPABLE, 1) == 0;
}
/// From here on this process, which runs as `uid`, is root in a user namespace of its own and nobody else is known there.
bool enter_user_namespace(uid_t uid) {
  if (::unshare(CLONE_NEWUSER) != 0) return false;
  FILE* const map = ::fopen("/proc/self/uid_map", "w");
  if (map == nullptr) return false;
  std::fprintf(map, "0 %u 1", uid);
  return std::fclose(map) == 0;
}

void expect_known(const PeerUser& user, uint32_t uid) {
  EXPECT_EQ(user.place, Place::kKnown) << user.why;
  EXPECT_EQ(user.uid, uid);
}
void expect_unknown(const PeerUser& user) {
  EXPECT_EQ(user.place, Place::kUnknown);
  EXPECT_EQ(user.uid, UINT32_MAX);
  EXPECT_STRNE(user.why, "");
}

struct Route {
  const char* name;
  const char* listens;
  const char* dials;
};
class PeerUserOver : public ::testing::TestWithParam<Route> {};

TEST_P(PeerUserOver, IsKnownAtBothEnds) {
  const Door door(GetParam().listens);
  if (!door.fd.valid()) GTEST_SKIP() << GetParam().listens << " cannot be listened on here";
  const UniqueFd client = dial(at(GetParam().dials, door.port));
  ASSERT_TRUE(client.valid());
  expect_known(listening_user(client.get()), ::geteuid());  // before it is accepted
  const UniqueFd accepted = door.accept();
  expect_known(connecting_user(accepted.get()), ::geteuid());
  expect_known(listening_user(client.get()), ::geteuid());
}
INSTANTIATE_TEST_SUITE_P(Routes, PeerUserOver,
                         ::testing::Values(Route{"IPv4", "127.0.0.1", "127.0.0.1"}, Route{"IPv6", "::1", "::1"},
                                           Route{"ListenerTakesBoth", "::", "127.0.0.1"},
                                           Route{"ListenerTakesAny", "0.0.0.0", "127.0.0.2"},
                                           Route{"ClientMapsIPv4", "127.0.0.1", "::ffff:127.0.0.1"},
                                           Route{"BothMapIPv4", "::", "::ffff:127.0.0.1"}),
                         [](const auto& route) { return std::string(route.param.name); });

TEST(PeerUserTest, WhoClosedIsNobodyAndNotRoot) {
  const Door door;
  UniqueFd client = dial(at("127.0.0.1", door.port));
  ASSERT_EQ(::send(client.get(), "bytes", 5, 0), 5);
  client.reset();
  const UniqueFd accepted = door.accept();
  expect_unknown(connecting_user(accepted.get()));
  char bytes[8];
  EXPECT_EQ(::recv(accepted.get(), bytes, sizeof bytes, 0), 5) << "what it wrote is there all the same";
}

TEST(PeerUserTest, WhoOnlyWritesNoMoreIsKnown) {
  const Door door;
  const UniqueFd client = dial(at("127.0.0.1", door.port));
  ::shutdown(client.get(), SHUT_WR);
  expect_known(connecting_user(door.accept().get()), ::geteuid());
}

void reset_connection(UniqueFd* fd) {
  const linger at_once{1, 0};
  ::setsockopt(fd->get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  fd->reset();
}

TEST(PeerUserTest, WhoeverTakesThePortsOfAConnectionThatWasResetIsNotTakenForItsMaker) {
  const Door door;
  UniqueFd first = dial(at("127.0.0.1", door.port));
  At own = at("127.0.0.1", 0);
  ASSERT_EQ(::getsockname(first.get(), own.name(), &own.bytes), 0);
  ASSERT_EQ(::send(first.get(), "bytes", 5, 0), 5);
  reset_connection(&first);
  const UniqueFd second = make_socket(own);
  ASSERT_EQ(::bind(second.get(), own.name(), own.bytes), 0);
  const At to = at("127.0.0.1", door.port);
  ASSERT_EQ(::connect(second.get(), to.name(), to.bytes), 0);
  const UniqueFd accepted_first = door.accept();
  const UniqueFd accepted_second = door.accept();
  expect_unknown(connecting_user(accepted_first.get()));
  expect_known(connecting_user(accepted_second.get()), ::geteuid());
}

TEST(PeerUserTest, AListenerOnThePortFromWhichAConnectionCameIsNotTakenForItsMaker) {
  const Door door;
  UniqueFd client = dial(at("127.0.0.1", door.port));
  At own = at("127.0.0.1", 0);
  ASSERT_EQ(::getsockname(client.get(), own.name(), &own.bytes), 0);
  const UniqueFd accepted = door.accept();
  reset_connection(&client);
  const Door there("127.0.0.1", ntohs(reinterpret_cast<sockaddr_in*>(&own.storage)->sin_port));
  ASSERT_TRUE(there.fd.valid());
  expect_unknown(connecting_user(accepted.get()));
}

TEST(PeerUserTest, AnotherUserIsKnownByItsUid) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const Door door;
  UniqueFd client;
  const Other other([&] {
    if (!become(kStranger)) return false;
    client = dial(at("127.0.0.1", door.port));
    return client.valid();
  });
  ASSERT_TRUE(other.did());
  expect_known(connecting_user(door.accept().get()), kStranger);
}

TEST(PeerUserTest, WhoIsRootInAUserNamespaceOnlyIsNotRootHere) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const Door door;
  UniqueFd client;
  const Other other([&] {
    if (!become(kStranger) || !enter_user_namespace(kStranger)) return false;
    client = dial(at("127.0.0.1", door.port));
    return client.valid() && ::getuid() == 0;
  });
  if (!other.did()) GTEST_SKIP() << "user namespaces are not permitted here";
  expect_known(connecting_user(door.accept().get()), kStranger);
}

TEST(PeerUserTest, AUserWhomTheOwnNamespaceDoesNotKnowIsUnknown) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  const Door door;
  const UniqueFd client = dial(at("127.0.0.1", door.port));
  const UniqueFd accepted = door.accept();
  const Other can_enter([] { return become(kStranger) && enter_user_namespace(kStranger); });
  if (!can_enter.did()) GTEST_SKIP() << "user namespaces are not permitted here";
  const Other other([&] {
    if (!become(kStranger) || !enter_user_namespace(kStranger)) return false;
    return connecting_user(accepted.get()).place == Place::kUnknown && listening_user(client.get()).place == Place::kUnknown;
  });
  EXPECT_TRUE(other.did()) << "root outside reads as the overflow uid inside";
}

TEST(PeerUserTest, WhoAcceptedIsKnownThoughAnotherListensThereNow) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can become another user";
  ASSERT_EQ(::seteuid(kStranger), 0);
  Door theirs;
  ASSERT_EQ(::seteuid(0), 0);
  const UniqueFd client = dial(at("127.0.0.1", theirs.port));
  expect_known(listening_user(client.get()), kStranger);
  ASSERT_EQ(::seteuid(kStranger), 0);
  const UniqueFd accepted = theirs.accept();
  ASSERT_EQ(::seteuid(0), 0);
  theirs.fd.reset();
  const Door ours("127.0.0.1", theirs.port);
  ASSERT_TRUE(ours.fd.valid());
  expect_known(listening_user(client.get()), kStranger);
  expect_known(connecting_user(accepted.get()), 0);
}

TEST(PeerUserTest, OfAUnixSocketItIsTheOneWhoListensOrConnected) {
  char directory[] = "/tmp/ringside-test-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/a.sock";
  sockaddr_un here{};
  here.sun_family = AF_UNIX;
  std::memcpy(here.sun_path, path.c_str(), path.size() + 1);
  const auto* const name = reinterpret_cast<const sockaddr*>(&here);
  const UniqueFd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::bind(listener.get(), name, sizeof here) + ::listen(listener.get(), 1), 0);
  const UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::connect(client.get(), name, sizeof here), 0);
  expect_known(listening_user(client.get()), ::geteuid());
  const UniqueFd accepted(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  expect_known(connecting_user(accepted.get()), ::geteuid());
  ::unlink(path.c_str());
  ::rmdir(directory);
}

}  // namespace
}  // namespace ringside
