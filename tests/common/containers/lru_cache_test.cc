#include "common/containers/lru_cache.h"

#include <gtest/gtest.h>

#include <memory>

namespace diptych {
namespace {

using Cache = LruCache<std::shared_ptr<const int>>;

std::shared_ptr<const int> Number(int number) {
  return std::make_shared<const int>(number);
}

TEST(LruCacheTest, GivesWhatWasPut) {
  Cache cache(100);
  cache.Put("a", Number(1), 10);
  ASSERT_NE(cache.Get("a"), nullptr);
  EXPECT_EQ(*cache.Get("a"), 1);
  EXPECT_EQ(cache.Get("b"), nullptr);
  EXPECT_EQ(cache.bytes(), 10);
}

TEST(LruCacheTest, WhatWasNotUsedForLongestMakesRoom) {
  Cache cache(30);
  for (const char* key : {"a", "b", "c"}) cache.Put(key, Number(0), 10);
  cache.Get("a");
  cache.Put("d", Number(0), 15);
  EXPECT_EQ(cache.Get("b"), nullptr);
  EXPECT_EQ(cache.Get("c"), nullptr);
  EXPECT_NE(cache.Get("a"), nullptr);
  EXPECT_NE(cache.Get("d"), nullptr);
  EXPECT_EQ(cache.bytes(), 25);
}

TEST(LruCacheTest, AValueOverTheLimitIsNotKeptAndPushesNothingOut) {
  Cache cache(30);
  cache.Put("a", Number(0), 30);
  cache.Put("b", Number(0), 31);
  EXPECT_NE(cache.Get("a"), nullptr);
  EXPECT_EQ(cache.Get("b"), nullptr);
}

TEST(LruCacheTest, ALimitOfZeroKeepsNothing) {
  Cache cache(0);
  cache.Put("a", Number(0), 1);
  EXPECT_EQ(cache.Get("a"), nullptr);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(LruCacheTest, ANewValueReplacesTheOldOne) {
  Cache cache(30);
  cache.Put("a", Number(1), 10);
  cache.Put("a", Number(2), 30);
  EXPECT_EQ(*cache.Get("a"), 2);
  EXPECT_EQ(cache.bytes(), 30);
  EXPECT_EQ(cache.size(), 1u);
}

TEST(LruCacheTest, AValueThatWasPushedOutLivesOnWithItsUser) {
  Cache cache(10);
  cache.Put("a", Number(7), 10);
  const auto held = cache.Get("a");
  cache.Put("b", Number(8), 10);
  EXPECT_EQ(*held, 7);
}

}  // namespace
}  // namespace diptych
