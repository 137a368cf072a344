#include "common/containers/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace diptych {
namespace {

TEST(BoundedQueueTest, PopsInOrder) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.TryPush(1));
  EXPECT_TRUE(queue.TryPush(2));
  EXPECT_EQ(queue.Pop(), 1);
  EXPECT_EQ(queue.Pop(), 2);
}

TEST(BoundedQueueTest, RefusesWhenFullAndLeavesTheItem) {
  BoundedQueue<std::unique_ptr<int>> queue(1);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(BoundedQueueTest, ClosedQueueGivesOutWhatItHoldsThenEnds) {
  BoundedQueue<int> queue(2);
  EXPECT_TRUE(queue.TryPush(7));
  queue.Close();
  EXPECT_FALSE(queue.TryPush(8));
  EXPECT_EQ(queue.Pop(), 7);
  EXPECT_EQ(queue.Pop(), std::nullopt);
}

TEST(BoundedQueueTest, CloseWakesAWaitingReader) {
  BoundedQueue<int> queue(1);
  std::optional<int> popped = 0;
  std::thread reader([&] { popped = queue.Pop(); });
  queue.Close();
  reader.join();
  EXPECT_EQ(popped, std::nullopt);
}

}  // namespace
}  // namespace diptych
