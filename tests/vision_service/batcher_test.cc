#include "vision_service/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace diptych::vision {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr BatchShape kSmall{.image_size = 224};
constexpr BatchShape kLarge{.image_size = 448};

std::vector<uint64_t> Ids(const std::vector<Batcher::Expired>& expired) {
  std::vector<uint64_t> ids;
  for (const auto& image : expired) ids.push_back(image.id);
  return ids;
}

class BatcherTest : public ::testing::Test {
 protected:
  void Add(uint64_t id, BatchShape shape = kSmall, SteadyTime deadline = SteadyTime::max()) {
    batcher_.Add(id, shape, "", deadline, now_);
  }
  void AddOf(const char* caller, uint64_t id, BatchShape shape = kSmall) {
    batcher_.Add(id, shape, caller, SteadyTime::max(), now_);
  }

  Batcher batcher_{{.max_batch = 4, .image_size = 224, .max_delay = milliseconds(20)}};
  SteadyTime now_ = SteadyTime(seconds(1000));
};

TEST_F(BatcherTest, HasNothingToDoWhenNothingWaits) {
  const auto plan = batcher_.Next(now_);
  EXPECT_THAT(plan.run, IsEmpty());
  EXPECT_THAT(plan.expired, IsEmpty());
  EXPECT_FALSE(plan.ask_again.has_value());
}

TEST_F(BatcherTest, RunsASingleImageAtOnce) {
  Add(1);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1));
  EXPECT_EQ(batcher_.size(), 0u);
}

TEST_F(BatcherTest, TakesWhatWaitsInOrderOfArrivalUpToItsBound) {
  for (uint64_t id = 1; id <= 6; ++id) Add(id);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(5, 6));
}

TEST_F(BatcherTest, WhatIsUpcomingRunsNext) {
  EXPECT_THAT(batcher_.Upcoming(), IsEmpty());
  Add(1, kLarge);
  for (uint64_t id = 2; id <= 7; ++id) AddOf("ada", id);
  AddOf("bob", 8);
  while (batcher_.size() > 0) {
    const std::vector<uint64_t> upcoming = batcher_.Upcoming();
    EXPECT_EQ(batcher_.Next(now_).run, upcoming);
  }
}

TEST_F(BatcherTest, CallersTakeTurns) {
  for (uint64_t id = 1; id <= 6; ++id) AddOf("ada", id);
  AddOf("bob", 11);
  AddOf("bob", 12);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1, 11, 2, 12));
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(3, 4, 5, 6));
}

TEST_F(BatcherTest, WhoComesToManyThatWaitIsNext) {
  for (uint64_t id = 1; id <= 30; ++id) AddOf("ada", id, kLarge);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1));
  AddOf("bob", 31, kLarge);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(2));
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(31));
}

TEST_F(BatcherTest, WhoKeepsOneWaitingGetsNoMoreThanItsTurns) {
  for (uint64_t id = 1; id <= 6; ++id) AddOf("ada", id, kLarge);
  AddOf("bob", 11, kLarge);
  std::vector<uint64_t> ran;
  while (ran.size() < 8) {
    ran.push_back(batcher_.Next(now_).run.at(0));
    if (ran.back() > 10) AddOf("bob", ran.back() + 1, kLarge);
  }
  EXPECT_THAT(ran, ElementsAre(1, 11, 2, 12, 3, 13, 4, 14));
}

TEST_F(BatcherTest, NeverMixesShapes) {
  Add(1, {.image_size = 112});
  Add(2, kSmall);
  Add(3, {.image_size = 112});
  Add(4, kSmall);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1, 3));
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(2, 4));
}

TEST_F(BatcherTest, NeverMixesMergingRatios) {
  Add(1, {.image_size = 224, .merging = 100});
  Add(2, kSmall);
  Add(3, {.image_size = 224, .merging = 100});
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1, 3));
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(2));
}

TEST_F(BatcherTest, LargeImagesGoInSmallerBatches) {
  for (uint64_t id = 1; id <= 3; ++id) Add(id, kLarge);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1)) << "four times the patches of the model's own size";
  Add(4, {.image_size = 336});
  Add(5, {.image_size = 1024});
  batcher_.Next(now_), batcher_.Next(now_);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(4));
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(5)) << "at least one";
}

TEST_F(BatcherTest, ARareShapeDoesNotStarveBehindAPopularOne) {
  Add(1);
  Add(2, kLarge);
  for (uint64_t id = 3; id <= 20; ++id) Add(id);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1, 3, 4, 5));
  for (uint64_t id = 21; id <= 40; ++id) Add(id);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(2)) << "it waits longest now";
}

TEST_F(BatcherTest, ARemovedImageIsNotRunAndFreesItsPlace) {
  for (uint64_t id = 1; id <= 5; ++id) Add(id);
  EXPECT_TRUE(batcher_.Remove(2));
  EXPECT_FALSE(batcher_.Remove(2));
  EXPECT_EQ(batcher_.size(), 4u);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1, 3, 4, 5));
}

TEST_F(BatcherTest, AnExpiredImageIsNotRun) {
  Add(1, kSmall, now_ + milliseconds(10));
  Add(2);
  Add(3, kSmall, now_ + milliseconds(30));
  now_ += milliseconds(10);
  const auto plan = batcher_.Next(now_);
  EXPECT_THAT(Ids(plan.expired), ElementsAre(1));
  EXPECT_EQ(plan.expired[0].deadline, now_);
  EXPECT_THAT(plan.run, ElementsAre(2, 3));
}

TEST_F(BatcherTest, AnExpiredImageOfAnotherShapeLeavesToo) {
  Add(1);
  Add(2, kLarge, now_);
  EXPECT_THAT(Ids(batcher_.Next(now_).expired), ElementsAre(2));
  EXPECT_EQ(batcher_.size(), 0u);
}

TEST_F(BatcherTest, ADeadlineCanMove) {
  Add(1, kSmall, now_ + milliseconds(10));
  batcher_.SetDeadline(1, now_ + milliseconds(50));
  now_ += milliseconds(20);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1));
}

TEST_F(BatcherTest, DoesNotBeginWhatCannotBeDoneInTime) {
  batcher_.Learn(kSmall, seconds(2));
  Add(1, kSmall, now_ + seconds(1));
  Add(2, kSmall, now_ + seconds(3));
  const auto plan = batcher_.Next(now_);
  EXPECT_THAT(Ids(plan.expired), ElementsAre(1));
  EXPECT_THAT(plan.run, ElementsAre(2));
}

TEST_F(BatcherTest, OneSlowPassDoesNotRefuseForEver) {
  batcher_.Learn(kSmall, seconds(100));
  std::vector<uint64_t> run;
  uint64_t id = 0;
  while (run.empty() && id < 20) {
    Add(++id, kSmall, now_ + seconds(1));
    run = batcher_.Next(now_).run;
  }
  EXPECT_THAT(run, ElementsAre(id));
  EXPECT_LE(id, 8u);
}

TEST_F(BatcherTest, WaitsForImagesThatAreBeingDecoded) {
  batcher_.Learn(kSmall, seconds(8));
  batcher_.Expect(kSmall);
  batcher_.Expect(kSmall);
  Add(1);
  const auto plan = batcher_.Next(now_);
  EXPECT_THAT(plan.run, IsEmpty());
  EXPECT_EQ(plan.ask_again, now_ + milliseconds(20));
  Add(2);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1, 2)) << "no other is expected";
}

TEST_F(BatcherTest, WaitsNoLongerThanItsBound) {
  batcher_.Learn(kSmall, milliseconds(80));
  batcher_.Expect(kSmall), batcher_.Expect(kSmall);
  Add(1);
  EXPECT_EQ(batcher_.Next(now_).ask_again, now_ + milliseconds(10)) << "an eighth of a pass";
  now_ += milliseconds(10);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1));
}

TEST_F(BatcherTest, DoesNotWaitForOtherShapesNorWhenItIsFullNorBeforeTheFirstPass) {
  batcher_.Expect(kLarge);
  Add(1);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1));
  batcher_.Expect(kSmall), batcher_.Expect(kSmall);
  Add(2);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(2)) << "nothing is known of how long a pass takes";
  batcher_.Learn(kSmall, seconds(8));
  for (int i = 0; i < 5; ++i) batcher_.Expect(kSmall);
  for (uint64_t id = 3; id <= 6; ++id) Add(id);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(3, 4, 5, 6));
}

TEST_F(BatcherTest, AImageThatFailedToDecodeIsNotWaitedFor) {
  batcher_.Learn(kSmall, seconds(8));
  batcher_.Expect(kSmall), batcher_.Expect(kSmall);
  Add(1);
  batcher_.Unexpect(kSmall);
  EXPECT_THAT(batcher_.Next(now_).run, ElementsAre(1));
}

TEST_F(BatcherTest, WithoutDelayItRunsWhatWaits) {
  batcher_.Learn(kSmall, seconds(8));
  batcher_.Expect(kSmall), batcher_.Expect(kSmall);
  Add(1);
  EXPECT_THAT(batcher_.Next(now_, /*may_delay=*/false).run, ElementsAre(1));
}

TEST_F(BatcherTest, TenThousandRandomImagesEachLeaveOnce) {
  std::mt19937 random(7);
  const auto pick = [&](int n) { return static_cast<int>(random() % n); };
  std::map<uint64_t, BatchShape> inside;
  std::map<BatchShape, uint64_t> last_run;
  uint64_t next = 1;
  const auto check = [&](const Batcher::Plan& plan) {
    for (const auto& image : plan.expired) {
      EXPECT_LE(image.deadline, now_);
      EXPECT_EQ(inside.erase(image.id), 1u);
    }
    EXPECT_LE(plan.run.size(), 4u);
    for (const uint64_t id : plan.run) {
      ASSERT_TRUE(inside.contains(id));
      EXPECT_EQ(inside[id], inside[plan.run[0]]);
      uint64_t& last = last_run[inside[id]];
      EXPECT_LT(last, id) << "order of arrival";
      last = id;
    }
    if (!plan.run.empty()) {
      EXPECT_EQ(plan.run[0], inside.begin()->first) << "the oldest goes first";
    }
    for (const uint64_t id : plan.run) inside.erase(id);
  };
  while (next <= 10'000) {
    now_ += milliseconds(pick(3));
    if (pick(3) > 0) {
      const BatchShape shape{.image_size = 112 * (1 + pick(3))};
      inside[next] = shape;
      Add(next++, shape, pick(4) == 0 ? now_ + milliseconds(pick(20)) : SteadyTime::max());
    } else if (pick(4) == 0) {
      const uint64_t id = next - 1 - pick(std::min<uint64_t>(next - 1, 10) + 1);
      EXPECT_EQ(batcher_.Remove(id), inside.erase(id) == 1);
    } else {
      check(batcher_.Next(now_));
    }
  }
  while (!inside.empty()) check(batcher_.Next(now_));
  EXPECT_EQ(batcher_.size(), 0u);
}

}  // namespace
}  // namespace diptych::vision
