#include "gateway/image_urls/name_lookup.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <thread>

#include "absl/status/status.h"

namespace diptych::gateway {
namespace {

// Takes questions and never answers.
class SilentNameServer {
 public:
  SilentNameServer() : socket_(socket(AF_INET, SOCK_DGRAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    bind(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address);
    socklen_t size = sizeof address;
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    address_ = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~SilentNameServer() { close(socket_); }

  const std::string& address() const { return address_; }
  void WaitForAQuestion() const {
    char byte;
    recv(socket_, &byte, 1, 0);
  }

 private:
  const int socket_;
  std::string address_;
};

TEST(NameLookupTest, ASilentNameServerIsGivenUp) {
  StartNameLookups();
  const SilentNameServer server;
  const auto found = LookUpName({.host = "images.example",
                                 .port = 443,
                                 .timeout = absl::Milliseconds(200),
                                 .wanted = [] { return true; },
                                 .servers = server.address()});
  EXPECT_TRUE(absl::IsDeadlineExceeded(found.status())) << found.status();
}

TEST(NameLookupTest, WhoLeavesEndsTheLookup) {
  StartNameLookups();
  const SilentNameServer server;
  std::atomic<bool> wanted = true;
  std::thread leaver([&] {
    server.WaitForAQuestion();
    wanted = false;
  });
  const auto found = LookUpName({.host = "images.example",
                                 .port = 443,
                                 .timeout = absl::InfiniteDuration(),
                                 .wanted = [&] { return wanted.load(); },
                                 .servers = server.address()});
  leaver.join();
  EXPECT_TRUE(absl::IsCancelled(found.status())) << found.status();
}

TEST(NameLookupTest, AddressesAndLocalhostNeedNoServer) {
  StartNameLookups();
  for (const char* host : {"127.0.0.1", "localhost", "2001:db8::1"}) {
    const auto found = LookUpName({.host = host,
                                   .port = 8443,
                                   .timeout = absl::Seconds(60),
                                   .wanted = [] { return true; },
                                   .servers = "127.0.0.1:1"});
    ASSERT_TRUE(found.ok()) << host << found.status();
    const auto& address = found->front().get();
    EXPECT_EQ(address.sa_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                            : reinterpret_cast<const sockaddr_in&>(address).sin_port,
              htons(8443));
  }
}

}  // namespace
}  // namespace diptych::gateway
