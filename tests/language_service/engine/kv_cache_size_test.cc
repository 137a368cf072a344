#include "language_service/engine/kv_cache_size.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

namespace diptych::language {
namespace {

// A model of which only the sizes are known; no byte is taken.
ServedLanguageModel Sized(int64_t window, int64_t queries, int64_t bytes_per_token) {
  ServedLanguageModel model;
  model.config.text.max_position_embeddings = window;
  model.config.num_query_tokens = queries;
  model.kv_block_bytes = [=](int64_t block_tokens) { return block_tokens * bytes_per_token; };
  model.make_kv_pool = [](int64_t blocks, int64_t block_tokens) {
    return blip2::KvPool{.keys = {}, .values = {}, .blocks = blocks, .block_tokens = block_tokens};
  };
  return model;
}

TEST(KvCacheSizeTest, AImageIsWholeBlocks) {
  EXPECT_EQ(KvBlockTokens(32), 16);
  EXPECT_EQ(KvBlockTokens(16), 16);
  EXPECT_EQ(KvBlockTokens(24), 12);
  EXPECT_EQ(KvBlockTokens(6), 6);
  EXPECT_EQ(KvBlockTokens(4), 4);
}

TEST(KvCacheSizeTest, ButBlocksAreNeverTiny) {
  EXPECT_EQ(KvBlockTokens(17), 16);
  EXPECT_EQ(KvBlockTokens(3), 16);
}

TEST(KvCacheSizeTest, TheDefaultIsSixteenWindowsBetweenOneWindowAndHalfAGibibyte) {
  EXPECT_EQ(DefaultKvCacheBytes(Sized(160, 16, 6144), 0), 16 * 160 * 6144);  // the demo model
  EXPECT_EQ(DefaultKvCacheBytes(Sized(2048, 32, 100'000), 0), int64_t{512} << 20);
  EXPECT_EQ(DefaultKvCacheBytes(Sized(2048, 32, 327'680), 0), int64_t{2048} * 327'680);  // blip2-opt-2.7b in bfloat16
}

TEST(KvCacheSizeTest, WhereMemoryIsFreeTheDefaultIsWhatHalfOfItAllows) {
  const ServedLanguageModel model = Sized(2048, 32, 327'680);
  const int64_t window = int64_t{2048} * 327'680;
  EXPECT_EQ(DefaultKvCacheBytes(model, 10 * window), 5 * window);
  EXPECT_EQ(DefaultKvCacheBytes(model, 100 * window), 16 * window);
}

TEST(KvCacheSizeTest, OnACardItIsTheTiersShareLessWeightsAndWork) {
  constexpr int64_t kGibibyte = int64_t{1} << 30;
  const blip2::DeviceMemory empty = {.free_bytes = 79 * kGibibyte, .total_bytes = 80 * kGibibyte};
  EXPECT_EQ(KvRoomOnCard(empty, /*fraction=*/0.75, /*weight_bytes=*/6 * kGibibyte), 53 * kGibibyte);
  const blip2::DeviceMemory shared = {.free_bytes = 10 * kGibibyte, .total_bytes = 80 * kGibibyte};
  EXPECT_EQ(KvRoomOnCard(shared, 0.75, 6 * kGibibyte), 9 * kGibibyte) << "no more than others leave";
  EXPECT_EQ(KvRoomOnCard(empty, 0.05, 6 * kGibibyte), 0);
}

TEST(KvCacheSizeTest, TakesAsManyBlocksAsFit) {
  const auto pool = AllocateKvCache(Sized(160, 16, 10), 16 * 10 * 7 + 159);
  ASSERT_TRUE(pool.ok());
  EXPECT_EQ(pool->blocks, 7);
  EXPECT_EQ(pool->block_tokens, 16);
}

TEST(KvCacheSizeTest, NamesTheFlagWhenNothingFits) {
  for (const int64_t bytes : {int64_t{-1}, int64_t{159}}) {
    const absl::Status status = AllocateKvCache(Sized(160, 16, 10), bytes).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("--kv_cache_bytes"), absl::string_view::npos);
  }
}

TEST(KvCacheSizeTest, ADeviceWithoutRoomIsAnError) {
  ServedLanguageModel model = Sized(160, 16, 10);
  model.make_kv_pool = [](int64_t, int64_t) -> blip2::KvPool { throw std::bad_alloc(); };
  EXPECT_EQ(AllocateKvCache(model, 0).status().code(), absl::StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace diptych::language
