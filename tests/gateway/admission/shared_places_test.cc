#include "gateway/admission/shared_places.h"

#include <gtest/gtest.h>

namespace diptych::gateway {
namespace {

class SharedPlacesTest : public ::testing::Test {
 protected:
  // A question that joins: what it got is kept.
  bool Join(SharedPlace& shared) {
    return shared.Join([this](absl::StatusOr<HeldPlace> place) { held_.push_back(std::move(place)); });
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
