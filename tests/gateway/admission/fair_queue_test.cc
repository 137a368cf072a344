#include "gateway/admission/fair_queue.h"

#include <gtest/gtest.h>

#include <chrono>

#include "gateway/admission/token_rate.h"

namespace diptych::gateway {
namespace {

using std::chrono::seconds;
using Verdict = FairQueue::Verdict;

const SteadyTime kNoon(seconds(1000));

class FairQueueTest : public ::testing::Test {
 protected:
  Verdict Ask(const std::string& caller, FairQueue::Id id, int max_inflight = 0, seconds patience = seconds(60)) {
    return queue_.Ask(
        {.id = id, .caller = caller, .max_inflight = max_inflight, .max_waiting = 3, .deadline = kNoon + patience});
  }

  // A place becomes free; who takes it, 0 for nobody.
  FairQueue::Id LeaveAndNext(const std::string& caller, SteadyTime now = kNoon) {
    queue_.Release(caller);
    return queue_.Next(now).value_or(0);
  }

  FairQueue queue_{/*places=*/2, /*waiting_room=*/6};
};

TEST(FairQueuePlacesTest, ThereAreNoMorePlacesThanTheTierHasRoomFor) {
  FairQueue queue(/*places=*/10, /*waiting_room=*/20);
  const auto ask = [&](const std::string& caller, FairQueue::Id id) {
    return queue.Ask(
        {.id = id, .caller = caller, .max_inflight = 0, .max_waiting = 10, .deadline = kNoon + seconds(9)});
  };
  for (FairQueue::Id id = 1; id <= 6; ++id) EXPECT_EQ(ask("flood", id), Verdict::kEnters);
  for (int i = 0; i < 2; ++i) queue.Refused();  // it takes four
  for (FairQueue::Id id = 7; id <= 9; ++id) EXPECT_EQ(ask("flood", id), Verdict::kWaits);
  EXPECT_EQ(ask("other", 10), Verdict::kWaits);
  for (int i = 0; i < 2; ++i) {  // one that was taken leaves, and one that was refused is taken
    queue.Release("flood");
    EXPECT_EQ(queue.Next(kNoon), std::nullopt);
    queue.Taken();
  }
  queue.Release("flood");
  EXPECT_EQ(queue.Next(kNoon), 7u);
  EXPECT_EQ(queue.Next(kNoon), 10u) << "a place more is tried, and the other's turn has come";
  EXPECT_EQ(queue.Next(kNoon), std::nullopt);
}

TEST(FairQueuePlacesTest, APlaceIsLeftWhereAllAreRefused) {
  FairQueue queue(/*places=*/3, /*waiting_room=*/3);
  const FairQueue::Question question{
      .id = 1, .caller = "a", .max_inflight = 0, .max_waiting = 3, .deadline = kNoon + seconds(9)};
  EXPECT_EQ(queue.Ask(question), Verdict::kEnters);
  queue.Refused();
  EXPECT_EQ(queue.Ask(question), Verdict::kWaits);
  queue.Taken();
  queue.Release("a");
  EXPECT_EQ(queue.Next(kNoon), 1u);
}

TEST_F(FairQueueTest, PlacesAreTakenFirstAndThenOneWaits) {
  EXPECT_EQ(Ask("a", 1), Verdict::kEnters);
  EXPECT_EQ(Ask("b", 2), Verdict::kEnters);
  EXPECT_EQ(Ask("a", 3), Verdict::kWaits);
  EXPECT_EQ(queue_.Next(kNoon), std::nullopt) << "no place is free";
  EXPECT_EQ(LeaveAndNext("b"), 3u);
  EXPECT_EQ(queue_.inside(), 2);
  EXPECT_EQ(queue_.waiting(), 0);
}

TEST_F(FairQueueTest, AFloodDelaysAnothersSingleQuestionByOnePlace) {
  for (FairQueue::Id id = 1; id <= 5; ++id) Ask("flood", id);
  EXPECT_EQ(Ask("single", 10), Verdict::kWaits);
  EXPECT_EQ(LeaveAndNext("flood"), 3u);
  EXPECT_EQ(LeaveAndNext("flood"), 10u);
  EXPECT_EQ(LeaveAndNext("single"), 4u);
}

TEST_F(FairQueueTest, AFloodCannotFillTheWaitingRoom) {
  for (FairQueue::Id id = 1; id <= 5; ++id) Ask("flood", id);
  EXPECT_EQ(Ask("flood", 6), Verdict::kFull) << "three of one caller wait";
  for (FairQueue::Id id = 11; id <= 13; ++id) EXPECT_EQ(Ask("other", id), Verdict::kWaits);
  EXPECT_EQ(Ask("third", 20), Verdict::kFull) << "six wait";
}

TEST_F(FairQueueTest, CallersTakeTurnsHoweverManyEachAsks) {
  Ask("x", 1);
  Ask("x", 2);
  for (FairQueue::Id id : {11, 12}) Ask("a", id);
  for (FairQueue::Id id : {21, 22}) Ask("b", id);
  for (FairQueue::Id id : {31, 32}) Ask("c", id);
  std::vector<FairQueue::Id> order{LeaveAndNext("x"), LeaveAndNext("x")};
  for (const char* caller : {"a", "b", "c", "a"}) order.push_back(LeaveAndNext(caller));
  EXPECT_EQ(order, (std::vector<FairQueue::Id>{11, 21, 31, 12, 22, 32}));
}

TEST_F(FairQueueTest, WhoComesLaterDoesNotOvertakeWhoWaits) {
  Ask("a", 1);
  Ask("a", 2);
  Ask("b", 3);
  queue_.Release("a");
  EXPECT_EQ(Ask("c", 4), Verdict::kWaits) << "the free place is b's";
  EXPECT_EQ(queue_.Next(kNoon), 3u);
}

TEST_F(FairQueueTest, ACallersOwnBoundCountsWhoIsInsideAndWhoWaits) {
  EXPECT_EQ(Ask("a", 1, 3), Verdict::kEnters);
  EXPECT_EQ(Ask("a", 2, 3), Verdict::kEnters);
  EXPECT_EQ(Ask("a", 3, 3), Verdict::kWaits);
  EXPECT_EQ(Ask("a", 4, 3), Verdict::kCallerFull);
  EXPECT_EQ(LeaveAndNext("a"), 3u);
  EXPECT_EQ(Ask("a", 5, 3), Verdict::kWaits);
}

TEST_F(FairQueueTest, NoPlaceGoesToAQuestionWhoseDeadlineIsPast) {
  Ask("a", 1);
  Ask("a", 2);
  Ask("b", 3, 0, seconds(5));
  Ask("b", 4);
  EXPECT_EQ(LeaveAndNext("a", kNoon + seconds(5)), 4u);
  EXPECT_EQ(queue_.Expired(kNoon + seconds(4)), std::vector<FairQueue::Id>{});
  EXPECT_EQ(queue_.Expired(kNoon + seconds(5)), std::vector<FairQueue::Id>{3});
  EXPECT_EQ(queue_.waiting(), 0);
  EXPECT_FALSE(queue_.Remove(3));
}

TEST_F(FairQueueTest, WhoLeavesTheLineLosesTheTurn) {
  Ask("a", 1);
  Ask("a", 2);
  Ask("b", 3);
  Ask("c", 4);
  EXPECT_TRUE(queue_.Remove(3));
  EXPECT_FALSE(queue_.Remove(3));
  EXPECT_EQ(LeaveAndNext("a"), 4u);
  EXPECT_EQ(LeaveAndNext("a"), 0u);
  EXPECT_EQ(queue_.inside(), 1);
}

TEST(FairQueueWithoutRoomTest, NobodyWaits) {
  FairQueue queue(1, 0);
  EXPECT_EQ(queue.Ask({1, "", 0, 1, kNoon}), Verdict::kEnters);
  EXPECT_EQ(queue.Ask({2, "", 0, 1, kNoon}), Verdict::kFull);
}

TEST(TokenRateTest, AMinutesWorthMayBeUsedAtOnceAndComesBackEvenly) {
  TokenRate rate;
  EXPECT_EQ(rate.Wait(600, kNoon), SteadyDuration::zero());
  rate.Charge(599, 600, kNoon);
  EXPECT_EQ(rate.Wait(600, kNoon), SteadyDuration::zero()) << "one is left";
  rate.Charge(301, 600, kNoon);  // 300 owed, 10 a second
  EXPECT_GT(rate.Wait(600, kNoon), seconds(30));
  EXPECT_LT(rate.Wait(600, kNoon), seconds(31));
  EXPECT_EQ(rate.Wait(600, kNoon + seconds(31)), SteadyDuration::zero());
  EXPECT_FALSE(rate.Full(600, kNoon + seconds(60)));
  EXPECT_TRUE(rate.Full(600, kNoon + seconds(91)));
  rate.Charge(600, 600, kNoon + seconds(10'000));
  EXPECT_GT(rate.Wait(600, kNoon + seconds(10'000)), SteadyDuration::zero())
      << "no more than a minute's worth is saved";
}

}  // namespace
}  // namespace diptych::gateway
