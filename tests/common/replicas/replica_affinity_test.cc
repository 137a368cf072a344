#include "common/replicas/replica_affinity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"

namespace diptych {
namespace {

constexpr int kKeys = 20'000;

AffinityKey KeyOf(int image) {
  return AffinityKeyOf({"image", absl::StrCat(image)});
}

std::vector<ReplicaLoad> IdleReplicas(int count) {
  std::vector<ReplicaLoad> replicas;
  for (int i = 0; i < count; ++i) replicas.push_back({.address = AffinityKeyOf({absl::StrCat("ipv4:10.0.0.", i)})});
  return replicas;
}

AffinityKey Chosen(AffinityKey key, const std::vector<ReplicaLoad>& replicas) {
  return replicas[ChooseReplica(key, replicas, 1)].address;
}

TEST(ReplicaAffinityTest, AKeyIsTheSameInEveryProcessAndForItsPartsOnly) {
  EXPECT_EQ(AffinityKeyOf({"abc"}), AffinityKeyOf({"abc"}));
  EXPECT_NE(AffinityKeyOf({"ab", "c"}), AffinityKeyOf({"a", "bc"}));
  // SHA-256 of the length as eight bytes, and the bytes.
  EXPECT_EQ(AffinityKeyOf({"abc"}), 0xce91dc5eec0139ad);
}

TEST(ReplicaAffinityTest, KeysSpreadEvenlyAndInAnyOrderOfTheReplicas) {
  for (const int count : {2, 3, 8, 16}) {
    std::vector<ReplicaLoad> replicas = IdleReplicas(count);
    std::vector<ReplicaLoad> reversed(replicas.rbegin(), replicas.rend());
    std::vector<int> keys(replicas.size());
    for (int i = 0; i < kKeys; ++i) {
      const size_t chosen = ChooseReplica(KeyOf(i), replicas, 1);
      ++keys[chosen];
      ASSERT_EQ(replicas[chosen].address, Chosen(KeyOf(i), reversed));
    }
    // Of a binomial distribution, five standard deviations and more.
    EXPECT_GT(*std::min_element(keys.begin(), keys.end()), kKeys / count * 85 / 100) << count;
    EXPECT_LT(*std::max_element(keys.begin(), keys.end()), kKeys / count * 115 / 100) << count;
  }
}

TEST(ReplicaAffinityTest, WhenAReplicaGoesOnlyItsKeysMove) {
  const std::vector<ReplicaLoad> before = IdleReplicas(8);
  const std::vector<ReplicaLoad> after(before.begin() + 1, before.end());
  int moved = 0;
  for (int i = 0; i < kKeys; ++i) {
    const AffinityKey chosen = Chosen(KeyOf(i), before);
    if (chosen == before[0].address) {
      ++moved;
    } else {
      ASSERT_EQ(Chosen(KeyOf(i), after), chosen);
    }
  }
  EXPECT_NEAR(moved, kKeys / 8, kKeys / 50) << "and as many come to one that is new";
}

TEST(ReplicaAffinityTest, AHotKeySpreadsAndComesBack) {
  constexpr int kReplicas = 4, kCalls = 40;
  std::vector<ReplicaLoad> replicas = IdleReplicas(kReplicas);
  const AffinityKey hot = KeyOf(1);
  const size_t home = ChooseReplica(hot, replicas, 1);
  for (int i = 0; i < kCalls; ++i) ++replicas[ChooseReplica(hot, replicas, 1)].calls;
  for (const ReplicaLoad& replica : replicas) EXPECT_LE(replica.calls, MostCalls(kCalls, kReplicas));
  EXPECT_EQ(replicas[home].calls, MostCalls(kCalls, kReplicas)) << "its own replica has the most";
  for (ReplicaLoad& replica : replicas) replica.calls = 0;
  EXPECT_EQ(ChooseReplica(hot, replicas, 1), home);
}

TEST(ReplicaAffinityTest, OneReplicaHasAQuarterMoreThanTheMeanAtMost) {
  EXPECT_EQ(MostCalls(1, 4), 1);
  EXPECT_EQ(MostCalls(4, 4), 1) << "one for each";
  EXPECT_EQ(MostCalls(5, 4), 2) << "of whom one has another";
  EXPECT_EQ(MostCalls(16, 4), 5);
  EXPECT_EQ(MostCalls(40, 4), 12);
  EXPECT_EQ(MostCalls(7, 1), 8) << "one alone takes all";
}

TEST(ReplicaAffinityTest, NobodyQueuesForACacheWhileAnotherIsIdle) {
  std::vector<ReplicaLoad> replicas = IdleReplicas(2);
  const size_t home = ChooseReplica(KeyOf(7), replicas, 1);
  replicas[home].calls = 1;
  EXPECT_NE(ChooseReplica(KeyOf(7), replicas, 1), home);
  replicas[1 - home].calls = 1;
  EXPECT_EQ(ChooseReplica(KeyOf(7), replicas, 1), home);
}

TEST(ReplicaAffinityTest, WhereSeveralAreAnsweredAtOnceAKeyStays) {
  std::vector<ReplicaLoad> replicas = IdleReplicas(4);
  const size_t home = ChooseReplica(KeyOf(7), replicas, 4);
  for (int calls = 0; calls < 4; ++calls) {
    EXPECT_EQ(ChooseReplica(KeyOf(7), replicas, 4), home);
    ++replicas[home].calls;
  }
  EXPECT_NE(ChooseReplica(KeyOf(7), replicas, 4), home);
}

TEST(ReplicaAffinityTest, TheFlagTakesItsTwoWords) {
  Affinity affinity = Affinity::kNone;
  std::string error;
  EXPECT_TRUE(AbslParseFlag("image", &affinity, &error));
  EXPECT_EQ(AbslUnparseFlag(affinity), "image");
  EXPECT_TRUE(AbslParseFlag("none", &affinity, &error));
  EXPECT_EQ(AbslUnparseFlag(affinity), "none");
  EXPECT_FALSE(AbslParseFlag("session", &affinity, &error));
  EXPECT_EQ(error, "takes image or none");
}

}  // namespace
}  // namespace diptych
