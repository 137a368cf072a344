#include "common/process/free_memory.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/common/system_root.h"

namespace diptych {
namespace {

using FreeMemoryTest = testing::SystemRoot;

TEST_F(FreeMemoryTest, IsWhatTheMachineHasAvailable) {
  Write("proc/meminfo", "MemTotal:       100 kB\nMemFree:  1 kB\nMemAvailable:   50 kB\n");
  EXPECT_EQ(FreeMemory(root_), 50 << 10);
}

TEST_F(FreeMemoryTest, IsWhatTheTightestControlGroupLeaves) {
  Write("proc/meminfo", "MemAvailable:   50 kB\n");
  Write("proc/self/cgroup", "0::/pod/server\n");
  Write("sys/fs/cgroup/pod/server/memory.max", "max\n");
  Write("sys/fs/cgroup/pod/server/memory.current", "1000\n");
  Write("sys/fs/cgroup/pod/memory.max", "20000\n");
  Write("sys/fs/cgroup/pod/memory.current", "9000\n");
  EXPECT_EQ(FreeMemory(root_), 11000);
  Write("sys/fs/cgroup/pod/memory.stat", "anon 8000\ninactive_file 700\nslab 3\n");
  EXPECT_EQ(FreeMemory(root_), 11700);
}

TEST_F(FreeMemoryTest, IsNothingInAGroupOverItsLimit) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/memory.max", "20000\n");
  Write("sys/fs/cgroup/memory.current", "21000\n");
  EXPECT_EQ(FreeMemory(root_), 0);
}

TEST_F(FreeMemoryTest, KnowsTheFirstVersionOfControlGroups) {
  Write("proc/self/cgroup", "7:cpu,cpuacct:/a\n6:memory:/a\n");
  Write("sys/fs/cgroup/memory/a/memory.limit_in_bytes", "20000\n");
  Write("sys/fs/cgroup/memory/a/memory.usage_in_bytes", "15000\n");
  Write("sys/fs/cgroup/memory/a/memory.stat", "total_inactive_file 500\n");
  EXPECT_EQ(FreeMemory(root_), 5500);
}

TEST_F(FreeMemoryTest, IsUnboundedWhereTheSystemSaysNothing) {
  EXPECT_EQ(FreeMemory(root_), std::numeric_limits<int64_t>::max());
}

TEST(FreeMemoryWithinTest, IsAtMostTheLimit) {
  EXPECT_EQ(FreeMemoryWithin(1000), 1000);
  EXPECT_GT(FreeMemoryWithin(0), 1000);
}

}  // namespace
}  // namespace diptych
