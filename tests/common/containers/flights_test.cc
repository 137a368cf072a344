#include "common/containers/flights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace diptych {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using TestFlights = Flights<std::string, int>;
using StopResult = TestFlights::StopResult;

constexpr SteadyTime At(int seconds) {
  return SteadyTime{std::chrono::seconds(seconds)};
}

class FlightsTest : public ::testing::Test {
 protected:
  TestFlights flights_;
};

TEST_F(FlightsTest, WhoWantsTheSameJoins) {
  EXPECT_EQ(flights_.Find("a", 0), TestFlights::kNone);
  const auto flight = flights_.Start("a", 0, At(5), 1, "cargo");
  EXPECT_EQ(flights_.Find("a", 0), flight);
  EXPECT_EQ(flights_.Find("b", 0), TestFlights::kNone);
  flights_.Join(flight, At(3), 2);
  EXPECT_EQ(flights_.cargo(flight), "cargo");
  EXPECT_THAT(flights_.End(flight).notify, ElementsAre(1, 2));
  EXPECT_EQ(flights_.Find("a", 0), TestFlights::kNone) << "it is over";
  EXPECT_THAT(flights_.End(flight).notify, IsEmpty()) << "once";
}

TEST_F(FlightsTest, AFlightThatBringsMoreWillDoAndTheLeastIsTaken) {
  const auto plain = flights_.Start("a", 0b00, At(5), 1, "");
  EXPECT_EQ(flights_.Find("a", 0b01), TestFlights::kNone) << "it brings less";
  const auto all = flights_.Start("a", 0b11, At(5), 2, "");
  EXPECT_EQ(flights_.Find("a", 0b01), all);
  EXPECT_EQ(flights_.Find("a", 0b10), all);
  EXPECT_EQ(flights_.Find("a", 0b00), plain);
  flights_.End(plain);
  EXPECT_EQ(flights_.Find("a", 0b00), all);
}

TEST_F(FlightsTest, OnlyTheLastOneThatLeavesLeavesNobody) {
  const auto flight = flights_.Start("a", 0, At(5), 1, "");
  flights_.Join(flight, At(5), 2);
  EXPECT_EQ(flights_.StopWaiting(flight, 1), StopResult::kOthersWait);
  EXPECT_EQ(flights_.StopWaiting(flight, 1), StopResult::kDidNotWait);
  EXPECT_EQ(flights_.StopWaiting(flight, 2), StopResult::kNobodyWaits);
  EXPECT_FALSE(flights_.awaited(flight));
  EXPECT_EQ(flights_.Find("a", 0), flight) << "goes on until it is closed";
  flights_.Join(flight, At(5), 3);
  EXPECT_THAT(flights_.End(flight).notify, ElementsAre(3));
}

TEST_F(FlightsTest, AClosedFlightIsForgottenAndAnotherMayStart) {
  const auto first = flights_.Start("a", 0, At(5), 1, "");
  flights_.StopWaiting(first, 1);
  flights_.Close(first);
  EXPECT_EQ(flights_.Find("a", 0), TestFlights::kNone);
  const auto second = flights_.Start("a", 0, At(5), 2, "");
  EXPECT_THAT(flights_.End(first).notify, IsEmpty());
  EXPECT_EQ(flights_.Find("a", 0), second) << "the end of the first is not the second's";
}

TEST_F(FlightsTest, AFlightGivenUpForItsDeadlineResumesForLaterOnes) {
  const auto flight = flights_.Start("a", 0, At(5), 1, "");
  flights_.Join(flight, At(9), 2);
  flights_.Join(flight, At(4), 3);
  const auto ended = flights_.End(flight, At(5));
  EXPECT_THAT(ended.notify, ElementsAre(1, 3));
  EXPECT_TRUE(ended.resumes);
  EXPECT_EQ(flights_.deadline(flight), At(9));
  EXPECT_EQ(flights_.Find("a", 0), flight);
  const auto again = flights_.End(flight, At(9));
  EXPECT_THAT(again.notify, ElementsAre(2));
  EXPECT_FALSE(again.resumes);
}

TEST_F(FlightsTest, AnyOtherOutcomeIsForAllWhoWait) {
  const auto flight = flights_.Start("a", 0, At(5), 1, "");
  flights_.Join(flight, At(9), 2);
  const auto ended = flights_.End(flight);
  EXPECT_THAT(ended.notify, ElementsAre(1, 2));
  EXPECT_FALSE(ended.resumes);
}

}  // namespace
}  // namespace diptych
