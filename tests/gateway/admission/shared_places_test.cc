#include "gateway/admission/shared_places.h"

#include <gtest/gtest.h>

namespace diptych::gateway {
namespace {

class SharedPlacesTest : public ::testing::Test {
 protected:
  // A question that joins: what it got is kept. False if it has to ask.
  bool Join(SharedPlace& shared) {
    task_ = shared.Join([this](absl::StatusOr<HeldPlace> place) { held_.push_back(std::move(place)); });
    return task_.kind == SharedPlace::Task::kNothing;
  }
  void Enter(SharedPlace& shared) {
    gate_->Enter(nullptr, 1, SteadyTime::max(), [&](absl::StatusOr<FairGate::Place> place) {
      absl::StatusOr<HeldPlace> held = HeldPlace();
      if (place.ok()) {
        held = std::make_shared<FairGate::Place>(*std::move(place));
      } else {
        held = place.status();
      }
      shared.OnEntered(held);
      held_.push_back(std::move(held));
    });
  }

  const std::shared_ptr<FairGate> gate_ = FairGate::Make(/*places=*/1, /*waiting_room=*/0);
  SharedPlaces places_;
  std::vector<absl::StatusOr<HeldPlace>> held_;
  SharedPlace::Task task_;
};

TEST_F(SharedPlacesTest, TheFirstAsksAndAllHold) {
  const auto shared = places_.Open(3);
  EXPECT_FALSE(Join(*shared));
  EXPECT_TRUE(Join(*shared)) << "waits for the first";
  EXPECT_TRUE(held_.empty());
  Enter(*shared);
  EXPECT_TRUE(Join(*shared)) << "comes later";
  ASSERT_EQ(held_.size(), 3);
  for (const auto& held : held_) EXPECT_TRUE(held.ok());
  EXPECT_EQ(gate_->inside(), 1);
}

TEST_F(SharedPlacesTest, IsFreeWhenTheLastOfAllLetsGo) {
  const auto shared = places_.Open(2);
  Join(*shared);
  Enter(*shared);
  held_.clear();
  EXPECT_EQ(gate_->inside(), 1) << "one is to come";
  Join(*shared);
  EXPECT_EQ(gate_->inside(), 1);
  held_.clear();
  EXPECT_EQ(gate_->inside(), 0);
}

TEST_F(SharedPlacesTest, IsFreeWhenNoMoreWillCome) {
  auto shared = places_.Open(9);
  Join(*shared);
  Enter(*shared);
  shared.reset();
  EXPECT_EQ(gate_->inside(), 1);
  held_.clear();
  EXPECT_EQ(gate_->inside(), 0);
}

TEST_F(SharedPlacesTest, WhoIsRefusedIsRefusedForAll) {
  const auto other = places_.Open(1), shared = places_.Open(3);
  Enter(*other);
  EXPECT_FALSE(Join(*shared));
  EXPECT_TRUE(Join(*shared));
  Enter(*shared);
  EXPECT_TRUE(Join(*shared));
  ASSERT_EQ(held_.size(), 4);
  for (size_t i = 1; i < held_.size(); ++i) EXPECT_TRUE(absl::IsResourceExhausted(held_[i].status()));
}

TEST_F(SharedPlacesTest, OthersHaveTheirTurnBetweenTheQuestionsOfALongRequest) {
  const auto gate = FairGate::Make(/*places=*/1, /*waiting_room=*/1);
  const auto shared = places_.Open(3 * SharedPlace::kQuestionsOfATurn);
  Join(*shared);
  gate->Enter(nullptr, 1, SteadyTime::max(),
              [&](auto place) { shared->OnEntered(std::make_shared<FairGate::Place>(*std::move(place))); });
  for (int i = 1; i < SharedPlace::kQuestionsOfATurn; ++i) EXPECT_TRUE(Join(*shared));
  ApiKey key;
  key.name = "other";
  const Caller caller = std::make_shared<const ApiKey>(key);
  std::vector<FairGate::Place> other;
  const auto ask = [&] {
    gate->Enter(caller, 1, SteadyTime::max(), [&](auto place) { other.push_back(*std::move(place)); });
  };
  ask();
  EXPECT_TRUE(other.empty());
  EXPECT_FALSE(Join(*shared));
  ASSERT_EQ(task_.kind, SharedPlace::Task::kTakeTurn);
  int turns = 0;
  gate->TakeTurn(task_.place, SteadyTime::max(), [&](const auto&) { ++turns; });
  EXPECT_EQ(other.size(), 1) << "who waits goes first";
  EXPECT_EQ(turns, 0);
  ask();
  EXPECT_EQ(gate->waiting(), 2) << "who waits for a turn takes no room";
  EXPECT_FALSE(gate->door().WaitUntilEmpty(absl::ZeroDuration()));
  other.clear();
  EXPECT_EQ(turns, 1);
  held_.clear();
  task_ = {};
  EXPECT_EQ(other.size(), 1) << "it is free when no question holds it";
}

TEST_F(SharedPlacesTest, ATurnThatNobodyWaitsForIsGivenAtOnce) {
  const auto shared = places_.Open(2 * SharedPlace::kQuestionsOfATurn);
  Join(*shared);
  Enter(*shared);
  for (int i = 1; i < SharedPlace::kQuestionsOfATurn; ++i) EXPECT_TRUE(Join(*shared));
  EXPECT_FALSE(Join(*shared));
  gate_->TakeTurn(task_.place, SteadyTime::max(), [&](const auto& turn) {
    EXPECT_TRUE(turn.ok());
    shared->OnEntered(task_.place);
  });
  EXPECT_TRUE(Join(*shared));
  EXPECT_EQ(gate_->inside(), 1);
}

TEST_F(SharedPlacesTest, IsFoundByItsNameAsLongAsItIsHeld) {
  auto shared = places_.Open(2);
  const std::string name = shared->name();
  EXPECT_EQ(places_.Find(name), shared);
  EXPECT_NE(places_.Open(2)->name(), name);
  EXPECT_EQ(places_.Find(""), nullptr);
  EXPECT_EQ(places_.Find("1"), nullptr);
  shared.reset();
  EXPECT_EQ(places_.Find(name), nullptr);
}

}  // namespace
}  // namespace diptych::gateway
