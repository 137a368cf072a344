#include "common/replicas/reachability.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

using Say = Reachability::Say;
using State = Reachability::State;
using std::chrono::seconds;

constexpr SteadyTime kStart{};

TEST(ReachabilityTest, AnUnreachablePeerIsSaidAtOnceAndEveryHalfMinute) {
  Reachability reachability;
  EXPECT_EQ(reachability.Observe(State::kUnreachable, kStart), Say::kUnreachable);
  for (int second = 1; second < 30; ++second) {
    const State state = second % 2 == 0 ? State::kUnreachable : State::kConnecting;  // it is tried again and again
    EXPECT_EQ(reachability.Observe(state, kStart + seconds(second)), Say::kNothing) << second;
  }
  EXPECT_EQ(reachability.Observe(State::kUnreachable, kStart + seconds(30)), Say::kStillUnreachable);
  EXPECT_EQ(reachability.Observe(State::kUnreachable, kStart + seconds(59)), Say::kNothing);
  EXPECT_EQ(reachability.Observe(State::kConnecting, kStart + seconds(60)), Say::kStillUnreachable);
}

TEST(ReachabilityTest, APeerThatIsBackIsSaidOnce) {
  Reachability reachability;
  EXPECT_EQ(reachability.Observe(State::kReachable, kStart), Say::kReachable);
  EXPECT_EQ(reachability.Observe(State::kReachable, kStart + seconds(90)), Say::kNothing);
  EXPECT_EQ(reachability.Observe(State::kUnreachable, kStart + seconds(91)), Say::kUnreachable);
  EXPECT_EQ(reachability.Observe(State::kReachable, kStart + seconds(92)), Say::kReachable);
  EXPECT_EQ(reachability.Observe(State::kUnreachable, kStart + seconds(93)), Say::kUnreachable) << "a new loss";
}

TEST(ReachabilityTest, AConnectionThatIsBeingMadeGetsASecond) {
  Reachability reachability;
  EXPECT_EQ(reachability.Observe(State::kConnecting, kStart), Say::kNothing);
  EXPECT_EQ(reachability.Observe(State::kConnecting, kStart + std::chrono::milliseconds(999)), Say::kNothing);
  EXPECT_EQ(reachability.Observe(State::kConnecting, kStart + seconds(1)), Say::kUnreachable);
}

}  // namespace
}  // namespace diptych
