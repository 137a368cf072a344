#include "language_service/engine/engine_inbox.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

namespace diptych::language {
namespace {

GenerateWork NamedWork(int64_t name) {
  return {.prompt = {.ids = {name}, .budget = {}},
          .options = {},
          .images = {},
          .clock = StageClock(SteadyTime()),
          .call = nullptr,
          .stream = nullptr};
}

Projection NamedProjection(const std::string& name) {
  return {.tokens = {}, .image_key = name, .done = nullptr};
}

TEST(EngineInboxTest, GivesAllRequestsInOrderAndAsManyImagesAsAreWanted) {
  EngineInbox inbox(4, 4);
  EXPECT_TRUE(inbox.TryPush(NamedWork(1)));
  EXPECT_TRUE(inbox.TryPush(NamedProjection("a")));
  EXPECT_TRUE(inbox.TryPush(NamedWork(2)));
  EXPECT_TRUE(inbox.TryPush(NamedProjection("b")));
  EXPECT_TRUE(inbox.TryPush(NamedProjection("c")));
  EngineInbox::Content content = inbox.Take(std::nullopt, /*images=*/2);
  ASSERT_EQ(content.work.size(), 2u);
  EXPECT_EQ(content.work[0].prompt.ids[0], 1);
  EXPECT_EQ(content.work[1].prompt.ids[0], 2);
  ASSERT_EQ(content.projections.size(), 2u);
  EXPECT_EQ(content.projections[0].image_key, "a");
  EXPECT_EQ(content.projections[1].image_key, "b");
  EXPECT_FALSE(content.closed);
  EXPECT_TRUE(inbox.Take(SteadyDuration::zero(), /*images=*/0).projections.empty());
  content = inbox.Take(std::nullopt, /*images=*/2);
  EXPECT_TRUE(content.work.empty());
  ASSERT_EQ(content.projections.size(), 1u);
  EXPECT_EQ(content.projections[0].image_key, "c");
}

TEST(EngineInboxTest, RefusesRequestsUntilOneLeaves) {
  EngineInbox inbox(1, 1);
  EXPECT_TRUE(inbox.TryPush(NamedWork(1)));
  inbox.Take(std::nullopt, /*images=*/1);
  EXPECT_FALSE(inbox.TryPush(NamedWork(2))) << "the first is still inside the engine";
  EXPECT_EQ(inbox.inside(), 1u);
  inbox.Release();
  EXPECT_TRUE(inbox.TryPush(NamedWork(3)));
}

TEST(EngineInboxTest, RefusesImagesWhenFullAndLeavesThemUntouched) {
  EngineInbox inbox(1, 1);
  EXPECT_TRUE(inbox.TryPush(NamedProjection("a")));
  Projection refused = NamedProjection("b");
  EXPECT_FALSE(inbox.TryPush(std::move(refused)));
  EXPECT_EQ(refused.image_key, "b");
}

TEST(EngineInboxTest, DoesNotWaitLongerThanItsPatience) {
  EngineInbox inbox(1, 1);
  EXPECT_TRUE(inbox.Take(SteadyDuration::zero(), /*images=*/1).work.empty());
}

TEST(EngineInboxTest, AWaitingThreadWakesWhenItIsClosed) {
  EngineInbox inbox(1, 1);
  std::thread waiting([&] { EXPECT_TRUE(inbox.Take(std::nullopt, /*images=*/1).closed); });
  inbox.Close();
  waiting.join();
  EXPECT_FALSE(inbox.TryPush(NamedWork(1)));
}

}  // namespace
}  // namespace diptych::language
