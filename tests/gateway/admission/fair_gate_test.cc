#include "gateway/admission/fair_gate.h"

#include <gtest/gtest.h>

#include <future>

#include "common/status.h"

namespace diptych::gateway {
namespace {

// Who asks again from within its refusal: a caller gets it no earlier.
class AskingAgainTest : public ::testing::Test {
 protected:
  absl::Status AskAgain() {
    again_ = gate_->Enter(nullptr, 1, SteadyTime::max(), [this](const auto& place) { verdict_ = place.status(); });
    return verdict_;
  }
  void Hold() {
    gate_->Enter(nullptr, 1, SteadyTime::max(), [this](auto place) { held_ = *std::move(place); });
  }

  const std::shared_ptr<FairGate> gate_ = FairGate::Make(/*places=*/1, /*waiting_room=*/1);
  FairGate::Place held_;
  FairGate::Id again_ = 0;
  absl::Status verdict_;  // OK while it waits
};

TEST_F(AskingAgainTest, WhoLeavesTheWaitingRoomHasLeftTheDoor) {
  Hold();
  absl::Status again = absl::UnknownError("not asked");
  const FairGate::Id waits = gate_->Enter(nullptr, 1, SteadyTime::max(), [&](const auto&) { again = AskAgain(); });
  gate_->Abandon(waits, absl::CancelledError());
  EXPECT_TRUE(again.ok()) << again;
  EXPECT_EQ(gate_->waiting(), 1);
  gate_->Abandon(again_, absl::CancelledError());
}

TEST_F(AskingAgainTest, WhoIsLateHasLeftTheDoor) {
  Hold();
  std::promise<absl::Status> again;
  gate_->Enter(nullptr, 1, SteadyClock::now(), [&](const auto&) { again.set_value(AskAgain()); });
  EXPECT_TRUE(again.get_future().get().ok());
  gate_->Abandon(again_, absl::CancelledError());
}

TEST_F(AskingAgainTest, WhoIsRefusedHasLeftTheDoor) {
  ApiKey busy;
  busy.name = "busy";
  busy.limits.max_inflight = 1;
  const Caller caller = std::make_shared<const ApiKey>(busy);
  gate_->Enter(caller, 1, SteadyTime::max(), [this](auto place) { held_ = *std::move(place); });
  absl::Status again = absl::UnknownError("not asked");
  gate_->Enter(caller, 1, SteadyTime::max(), [&](const auto& place) {
    EXPECT_EQ(ReasonOf(place.status()), reason::kRateLimited);
    again = AskAgain();
  });
  EXPECT_TRUE(again.ok()) << again;
  gate_->Abandon(again_, absl::CancelledError());
}

}  // namespace
}  // namespace diptych::gateway
