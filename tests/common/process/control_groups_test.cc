#include "common/process/control_groups.h"

#include <gtest/gtest.h>

#include "tests/common/system_root.h"

namespace diptych {
namespace {

using ControlGroupsTest = testing::SystemRoot;

TEST_F(ControlGroupsTest, TheLeastQuotaCountsRoundedUp) {
  Write("proc/self/cgroup", "0::/pod/server\n");
  Write("sys/fs/cgroup/pod/server/cpu.max", "max 100000\n");
  Write("sys/fs/cgroup/pod/cpu.max", "150000 100000\n");
  Write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(ProcessorQuota(root_), 2);
}

TEST_F(ControlGroupsTest, APartOfACoreIsOne) {
  Write("proc/self/cgroup", "0::/\n");
  Write("sys/fs/cgroup/cpu.max", "5000 100000\n");
  EXPECT_EQ(ProcessorQuota(root_), 1);
}

TEST_F(ControlGroupsTest, QuotasOfTheFirstVersion) {
  Write("proc/self/cgroup", "7:cpu,cpuacct:/a/b\n6:cpuset:/a\n");
  Write("sys/fs/cgroup/cpu/a/b/cpu.cfs_quota_us", "-1\n");
  Write("sys/fs/cgroup/cpu/a/b/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(ProcessorQuota(root_), std::nullopt);
  Write("sys/fs/cgroup/cpu/a/cpu.cfs_quota_us", "400000\n");
  Write("sys/fs/cgroup/cpu/a/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(ProcessorQuota(root_), 4);
}

TEST_F(ControlGroupsTest, WhatIsNoQuotaSaysNothing) {
  EXPECT_EQ(ProcessorQuota(root_), std::nullopt);
  Write("proc/self/cgroup", "nonsense\n0::/a/../b\n");
  for (const char* text : {"", "max", "0 0\n", "-1 100000\n", "100000\n", "many 100000\n"}) {
    Write("sys/fs/cgroup/a/cpu.max", text);
    EXPECT_EQ(ProcessorQuota(root_), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace diptych
