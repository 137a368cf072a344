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

TEST(EngineInboxTest, GivesAllRequestsInOrderAndOneImage) {
  EngineInbox inbox(4, 4);
  EXPECT_TRUE(inbox.TryPush(NamedWork(1)));
  EXPECT_TRUE(inbox.TryPush(NamedProjection("a")));
  EXPECT_TRUE(inbox.TryPush(NamedWork(2)));
  EXPECT_TRUE(inbox.TryPush(NamedProjection("b")));
  EngineInbox::Content content = inbox.Take(std::nullopt);
  ASSERT_EQ(content.work.size(), 2u);
  EXPECT_EQ(content.work[0].prompt.ids[0], 1);
  EXPECT_EQ(content.work[1].prompt.ids[0], 2);
  EXPECT_EQ(content.projection->image_key, "a");
  EXPECT_FALSE(content.closed);
  content = inbox.Take(std::nullopt);
  EXPECT_TRUE(content.work.empty());
  EXPECT_EQ(content.projection->image_key, "b");
}

TEST(EngineInboxTest, RefusesRequestsUntilOneLeaves) {
  EngineInbox inbox(1, 1);
  EXPECT_TRUE(inbox.TryPush(NamedWork(1)));
  inbox.Take(std::nullopt);
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
  EXPECT_TRUE(inbox.Take(SteadyDuration::zero()).work.empty());
}

TEST(EngineInboxTest, AWaitingThreadWakesWhenItIsClosed) {
  EngineInbox inbox(1, 1);
  std::thread waiting([&] { EXPECT_TRUE(inbox.Take(std::nullopt).closed); });
  inbox.Close();
  waiting.join();
  EXPECT_FALSE(inbox.TryPush(NamedWork(1)));
}

}  // namespace
}  // namespace diptych::language
