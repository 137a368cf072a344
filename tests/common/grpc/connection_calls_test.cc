#include "common/grpc/connection_calls.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace diptych {
namespace {

class ConnectionCallsTest : public ::testing::Test {
 protected:
  void Begin(const std::string& peer, int count) {
    for (int i = 0; i < count; ++i) running_.push_back(calls_.Begin(peer, 100));
  }

  std::vector<std::string> reset_;
  ConnectionCalls calls_{[this](const std::string& peer) { reset_.push_back(peer); }};
  std::vector<std::shared_ptr<void>> running_;
};

TEST_F(ConnectionCallsTest, AConnectionMayHaveItsCallsAndAsManyThatHaveNotEndedYet) {
  Begin("a", 2 * kMaxConnectionCalls);
  EXPECT_TRUE(reset_.empty());
}

TEST_F(ConnectionCallsTest, OneWithMoreIsResetOnce) {
  Begin("a", 2 * kMaxConnectionCalls + 100);
  EXPECT_EQ(reset_, std::vector<std::string>{"a"});
}

TEST_F(ConnectionCallsTest, ConnectionsAreCountedApart) {
  Begin("a", 2 * kMaxConnectionCalls);
  Begin("b", 2 * kMaxConnectionCalls);
  EXPECT_TRUE(reset_.empty());
}

TEST_F(ConnectionCallsTest, CallsThatHaveEndedCountNoMore) {
  for (int i = 0; i < 4; ++i) {
    Begin("a", kMaxConnectionCalls);
    running_.clear();
  }
  EXPECT_TRUE(reset_.empty());
}

TEST_F(ConnectionCallsTest, OneThatSendsFarMoreMetadataThanItMayIsReset) {
  calls_.Begin("a", 4 * kMaxMetadataBytes);
  EXPECT_TRUE(reset_.empty());
  calls_.Begin("b", 4 * kMaxMetadataBytes + 1);
  EXPECT_EQ(reset_, std::vector<std::string>{"b"});
}

TEST_F(ConnectionCallsTest, CallsMayOutliveTheCount) {
  std::shared_ptr<void> call;
  {
    ConnectionCalls calls([](const std::string&) {});
    call = calls.Begin("a", 100);
  }
  call.reset();
}

}  // namespace
}  // namespace diptych
