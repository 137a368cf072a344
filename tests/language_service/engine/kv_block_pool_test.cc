#include "language_service/engine/kv_block_pool.h"

#include <gtest/gtest.h>

#include <set>

namespace diptych::language {
namespace {

KvBlockKey Key(uint8_t name) {
  KvBlockKey key{};
  key[0] = name;
  return key;
}

TEST(KvBlockPoolTest, GivesEachBlockOnceAndThenNone) {
  KvBlockPool pool(3);
  std::set<int32_t> given;
  for (int i = 0; i < 3; ++i) given.insert(pool.Allocate().value());
  EXPECT_EQ(given, (std::set<int32_t>{0, 1, 2}));
  EXPECT_FALSE(pool.Allocate().has_value());
  EXPECT_EQ(pool.held(), 3);
}

TEST(KvBlockPoolTest, ABlockIsFreeWhenItsLastHolderLetsGo) {
  KvBlockPool pool(1);
  const int32_t block = *pool.Allocate();
  pool.Share(block);
  EXPECT_TRUE(pool.shared(block));
  EXPECT_FALSE(pool.Release(block));
  EXPECT_FALSE(pool.shared(block));
  EXPECT_FALSE(pool.Allocate().has_value());
  EXPECT_TRUE(pool.Release(block));
  EXPECT_EQ(pool.Allocate(), block);
}

TEST(KvBlockPoolTest, APublishedBlockOutlivesItsHolders) {
  KvBlockPool pool(2);
  const int32_t block = *pool.Allocate();
  pool.Publish(block, Key(1));
  pool.Release(block);
  EXPECT_EQ(pool.cached(), 1);
  EXPECT_EQ(pool.held(), 0);
  EXPECT_EQ(pool.Find(Key(1)), block);
  pool.Share(block);
  EXPECT_EQ(pool.cached(), 0);
  EXPECT_EQ(pool.held(), 1);
}

TEST(KvBlockPoolTest, WhatWasLetGoFirstIsEvictedFirstAndOnlyWhenNoBlockIsFree) {
  KvBlockPool pool(3);
  const int32_t first = *pool.Allocate();
  const int32_t second = *pool.Allocate();
  pool.Publish(first, Key(1));
  pool.Publish(second, Key(2));
  pool.Release(second);
  pool.Release(first);
  EXPECT_EQ(pool.Allocate(), 2);
  EXPECT_EQ(pool.Allocate(), second);
  EXPECT_FALSE(pool.Find(Key(2)).has_value());
  EXPECT_EQ(pool.Find(Key(1)), first);
}

TEST(KvBlockPoolTest, AUsedBlockMovesToTheEndOfTheQueue) {
  KvBlockPool pool(2);
  const int32_t first = *pool.Allocate();
  const int32_t second = *pool.Allocate();
  pool.Publish(first, Key(1));
  pool.Publish(second, Key(2));
  pool.Release(first);
  pool.Release(second);
  pool.Share(first);
  pool.Release(first);
  EXPECT_EQ(pool.Allocate(), second);
}

TEST(KvBlockPoolTest, TheFirstBlockOfAKeyStays) {
  KvBlockPool pool(2);
  const int32_t first = *pool.Allocate();
  const int32_t second = *pool.Allocate();
  pool.Publish(first, Key(1));
  pool.Publish(second, Key(1));
  pool.Publish(first, Key(2));
  EXPECT_EQ(pool.Find(Key(1)), first);
  EXPECT_FALSE(pool.Find(Key(2)).has_value());
  pool.Release(second);
  EXPECT_EQ(pool.cached(), 0) << "nobody can find it, so it is free";
}

std::vector<KvBlockKey> Keys(std::vector<int64_t> ids, std::vector<std::string> images = {},
                             const std::string& cache_salt = "") {
  KvBlockChain chain(/*block_tokens=*/2, /*query_tokens=*/4, std::move(images), cache_salt);
  chain.Append(ids);
  return {chain.keys().begin(), chain.keys().end()};
}

TEST(KvBlockChainTest, OnlyFullBlocksHaveAKey) {
  EXPECT_EQ(Keys({1, 2, 3}).size(), 1u);
  KvBlockChain chain(2, 4, {});
  for (const int64_t id : {1, 2, 3}) chain.Append(std::span(&id, 1));
  EXPECT_EQ(chain.keys()[0], Keys({1, 2, 3})[0]);
}

TEST(KvBlockChainTest, AKeySaysWhatTheBlockHoldsAndWhatStandsBefore) {
  const auto keys = Keys({1, 2, 3, 4, 3, 4});
  EXPECT_NE(keys[1], keys[2]);
  EXPECT_EQ(keys[1], Keys({1, 2, 3, 4})[1]);
  EXPECT_NE(keys[1], Keys({1, 9, 3, 4})[1]);
  EXPECT_NE(keys[1], Keys({1, 2, 3, 9})[1]);
}

TEST(KvBlockChainTest, SequencesOfTwoSaltsShareNothing) {
  const auto alice = Keys({1, 2, 3, 4}, {}, "alice"), bob = Keys({1, 2, 3, 4}, {}, "bob"), nobody = Keys({1, 2, 3, 4});
  EXPECT_EQ(alice, Keys({1, 2, 3, 4}, {}, "alice"));
  for (size_t block = 0; block < 2; ++block) {
    EXPECT_NE(alice[block], bob[block]);
    EXPECT_NE(alice[block], nobody[block]);
  }
}

TEST(KvBlockChainTest, ImagesTellEqualPlaceholdersApart) {
  const std::vector<int64_t> two_images = {9, 9, 9, 9, 9, 9, 9, 9, 1, 2};
  const auto keys = Keys(two_images, {"a", "b"});
  EXPECT_EQ(keys, Keys(two_images, {"a", "b"}));
  const auto other = Keys(two_images, {"a", "c"});
  EXPECT_EQ(keys[1], other[1]) << "the first image is the same";
  EXPECT_NE(keys[2], other[2]);
  EXPECT_NE(keys[4], other[4]) << "the text behind them sees another image";
  EXPECT_NE(keys[0], Keys(two_images)[0]);
  EXPECT_NE(Keys({9, 9, 9, 9}, {"ab"})[0], Keys({9, 9, 9, 9}, {"a"})[0]);
}

}  // namespace
}  // namespace diptych::language
