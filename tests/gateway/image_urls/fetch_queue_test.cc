#include "gateway/image_urls/fetch_queue.h"

#include <gtest/gtest.h>

#include <string>

namespace diptych::gateway {
namespace {

using Queue = FetchQueue<std::string>;

TEST(FetchQueueTest, OneKeyCannotTakeAllThreadsNorAllRoom) {
  Queue queue(8, /*most_running=*/3);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.TryPush("greedy", "slow"));
  EXPECT_FALSE(queue.TryPush("greedy", "one too many"));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(queue.Pop()->caller, "greedy");
  EXPECT_TRUE(queue.TryPush("modest", "quick"));
  EXPECT_EQ(queue.Pop()->caller, "modest") << "the greedy one has three out, and one that waits";
  queue.Done("greedy");
  EXPECT_EQ(queue.Pop()->caller, "greedy");
}

TEST(FetchQueueTest, WhoHasTheFewestOutIsNextAndThenWhoCameFirst) {
  Queue queue(8, 8);
  for (const char* item : {"a1", "a2", "a3"}) queue.TryPush("a", item);
  queue.TryPush("b", "b1");
  queue.TryPush("c", "c1");
  for (const char* item : {"a1", "b1", "c1", "a2", "a3"}) EXPECT_EQ(queue.Pop()->item, item);
}

TEST(FetchQueueTest, WithoutKeysAllIsForAnybody) {
  Queue queue(4, 1);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.TryPush("", "x"));
  EXPECT_FALSE(queue.TryPush("", "x"));
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(queue.Pop());
}

TEST(FetchQueueTest, WhatIsRemovedIsNotFetchedAndLeavesItsRoom) {
  Queue queue(2, 2);
  queue.TryPush("a", "1");
  queue.Remove("a", "1");
  EXPECT_TRUE(queue.TryPush("a", "2"));
  EXPECT_EQ(queue.Pop()->item, "2");
  queue.Close();
  EXPECT_FALSE(queue.Pop());
  EXPECT_FALSE(queue.TryPush("a", "3"));
}

}  // namespace
}  // namespace diptych::gateway
