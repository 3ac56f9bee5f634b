// What is said to a service manager arrives as one datagram, at a path and at an abstract name; where nobody listens, the reason is told.
#include "native/fd/service_notice.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>

#include "native/fd/unique_fd.h"

namespace ringside {
namespace {

UniqueFd listen_at(const std::string& address) {
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  std::memcpy(at.sun_path, address.data(), address.size());
  if (address[0] == '@') at.sun_path[0] = '\0';
  UniqueFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size());
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&at), bytes), 0);
  return fd;
}

std::string read_one(int fd) {
  char bytes[256];
  const ssize_t n = ::recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
  return n < 0 ? "nothing" : std::string(bytes, static_cast<size_t>(n));
}

TEST(ServiceNotice, ArrivesAtAPath) {
  char directory[] = "/tmp/ringside-test-XXXXXX";
  ASSERT_NE(::mkdtemp(directory), nullptr);
  const std::string path = std::string(directory) + "/notify";
  const UniqueFd manager = listen_at(path);
  EXPECT_TRUE(send_service_notice(path, "MAINPID=7\nREADY=1"));
  EXPECT_EQ(read_one(manager.get()), "MAINPID=7\nREADY=1");
  std::filesystem::remove_all(directory);
}

TEST(ServiceNotice, ArrivesAtAnAbstractName) {
  const std::string name = "@ringside-test-" + std::to_string(::getpid());
  const UniqueFd manager = listen_at(name);
  EXPECT_TRUE(send_service_notice(name, "READY=1"));
  EXPECT_EQ(read_one(manager.get()), "READY=1");
}

TEST(ServiceNotice, SaysWhyItCannotBeSent) {
  const Result<Unit> nobody = send_service_notice("/nowhere/notify", "READY=1");
  ASSERT_FALSE(nobody);
  EXPECT_NE(nobody.error().text.find("/nowhere/notify: No such file"), std::string::npos);
  for (const std::string& address : {std::string(), std::string("@"), std::string("notify"), std::string(200, '/')}) {
    const Result<Unit> refused = send_service_notice(address, "READY=1");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kInvalidArgument);
  }
}

}  // namespace
}  // namespace ringside
