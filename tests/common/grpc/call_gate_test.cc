#include "common/grpc/call_gate.h"

#include <gtest/gtest.h>

#include <thread>

#include "common/status.h"

namespace diptych {
namespace {

TEST(CallGateTest, RefusesOverItsLimitAndSaysWhenToRetry) {
  CallGate gate(2);
  auto first = gate.Enter();
  auto second = gate.Enter();
  ASSERT_TRUE(first.ok() && second.ok());
  const auto third = gate.Enter();
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(third.status()), reason::kQueueFull);
  EXPECT_TRUE(RetryAfterOf(third.status()).has_value());
}

TEST(CallGateTest, APlaceIsFreeOnceItsTicketIsGone) {
  CallGate gate(1);
  {
    auto ticket = gate.Enter();
    ASSERT_TRUE(ticket.ok());
    EXPECT_EQ(gate.inside(), 1);
    CallGate::Ticket moved = *std::move(ticket);
    moved.Release();
    moved.Release();
    EXPECT_EQ(gate.inside(), 0);
  }
  EXPECT_EQ(gate.inside(), 0);
  EXPECT_TRUE(gate.Enter().ok());
}

TEST(CallGateTest, ClosedItRefusesAsDraining) {
  CallGate gate(1);
  gate.Close();
  const auto ticket = gate.Enter();
  EXPECT_EQ(ticket.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(ticket.status()), reason::kDraining);
}

TEST(CallGateTest, WaitsUntilTheLastCallHasLeft) {
  CallGate gate(1);
  auto ticket = gate.Enter();
  ASSERT_TRUE(ticket.ok());
  EXPECT_FALSE(gate.WaitUntilEmpty(absl::ZeroDuration()));
  std::thread leaver([&ticket] { ticket->Release(); });
  EXPECT_TRUE(gate.WaitUntilEmpty(absl::Minutes(1)));
  leaver.join();
}

TEST(CallGateTest, WaitsHoweverLongItIsTold) {
  CallGate gate(1);
  auto ticket = gate.Enter();
  ASSERT_TRUE(ticket.ok());
  std::thread leaver([&ticket] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // so that the wait has begun
    ticket->Release();
  });
  EXPECT_TRUE(gate.WaitUntilEmpty(absl::InfiniteDuration()));
  leaver.join();
}

}  // namespace
}  // namespace diptych
