#include "common/grpc/connection_acceptor.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace diptych {
namespace {

// -1 if nobody listens.
int Connect(int port) {
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
  const timeval patience{.tv_sec = 5, .tv_usec = 0};
  setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  if (connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return connection;
  close(connection);
  return -1;
}

class ConnectionAcceptorTest : public ::testing::Test {
 protected:
  void TearDown() override {
    acceptor_.reset();
    for (const int one : accepted_) close(one);
  }

  void Start(const std::string& address) {
    auto acceptor = ConnectionAcceptor::Listen(address);
    ASSERT_TRUE(acceptor.ok()) << acceptor.status();
    acceptor_ = *std::move(acceptor);
    acceptor_->Start([this](int descriptor) {
      std::lock_guard lock(mutex_);
      EXPECT_EQ(write(descriptor, "x", 1), 1);
      accepted_.push_back(descriptor);
    });
  }

  // Whether a new connection gets through.
  bool IsHeard() const {
    const int connection = Connect(acceptor_->port());
    char byte = 0;
    const bool heard = connection >= 0 && recv(connection, &byte, 1, 0) == 1;
    if (connection >= 0) close(connection);
    return heard;
  }

  std::unique_ptr<ConnectionAcceptor> acceptor_;
  std::mutex mutex_;
  std::vector<int> accepted_;
};

TEST_F(ConnectionAcceptorTest, TakesConnectionsOnEveryFormOfAddress) {
  for (const char* address : {"127.0.0.1:0", "localhost:0", "0.0.0.0:0", "[::]:0"}) {
    Start(address);
    ASSERT_NE(acceptor_, nullptr);
    EXPECT_TRUE(IsHeard()) << address;
    acceptor_.reset();
  }
}

TEST_F(ConnectionAcceptorTest, RefusesWhatItCannotListenOn) {
  Start("127.0.0.1:0");
  for (const std::string& address :
       {"127.0.0.1:" + std::to_string(acceptor_->port()), std::string("nobody.invalid:0"), std::string("nonsense")}) {
    EXPECT_EQ(ConnectionAcceptor::Listen(address).status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

TEST_F(ConnectionAcceptorTest, ListensNoMoreOnceItIsStopped) {
  Start("127.0.0.1:0");
  const int port = acceptor_->port();
  acceptor_->Stop();
  EXPECT_EQ(Connect(port), -1);
}

std::string PeerName(int connection) {
  sockaddr_in own{};
  socklen_t size = sizeof own;
  EXPECT_EQ(getsockname(connection, reinterpret_cast<sockaddr*>(&own), &size), 0);
  return "ipv4:127.0.0.1:" + std::to_string(ntohs(own.sin_port));
}

TEST_F(ConnectionAcceptorTest, ResetsTheConnectionOfOnePeerAndNoOther) {
  for (const char* address : {"127.0.0.1:0", "[::]:0"}) {
    Start(address);
    const int bad = Connect(acceptor_->port()), good = Connect(acceptor_->port());
    char byte = 0;
    for (const int one : {bad, good}) ASSERT_EQ(recv(one, &byte, 1, 0), 1);
    ResetConnection(PeerName(bad));
    EXPECT_EQ(recv(bad, &byte, 1, 0), -1);
    EXPECT_EQ(errno, ECONNRESET) << address;
    EXPECT_EQ(recv(good, &byte, 1, MSG_DONTWAIT), -1);
    EXPECT_EQ(errno, EAGAIN) << address;
    for (const int one : {bad, good}) close(one);
  }
}

TEST_F(ConnectionAcceptorTest, ResetsNothingForAPeerThatIsNotThere) {
  for (const char* peer :
       {"", "inproc", "unix:/tmp/x", "ipv4:127.0.0.1", "ipv4:127.0.0.1:1", "ipv6:%5B::1%5D:1", "ipv6:x"}) {
    ResetConnection(peer);
  }
}

TEST_F(ConnectionAcceptorTest, OutlivesCallersThatTakeEveryDescriptor) {
  rlimit usual{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &usual), 0);
  Start("127.0.0.1:0");
  std::vector<int> callers = {Connect(acceptor_->port())};
  const rlimit few{.rlim_cur = static_cast<rlim_t>(callers.back()) + 16, .rlim_max = usual.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
  while (callers.back() >= 0) callers.push_back(Connect(acceptor_->port()));  // theirs and ours run out together
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &usual), 0);
  EXPECT_TRUE(IsHeard());
  for (const int caller : callers) {
    if (caller >= 0) close(caller);
  }
}

}  // namespace
}  // namespace diptych
