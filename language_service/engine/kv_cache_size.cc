#include "language_service/engine/kv_cache_size.h"

#include <algorithm>
#include <limits>

#include "absl/strings/str_cat.h"
#include "common/process/catch_exceptions.h"
#include "common/process/free_memory.h"
#include "common/status.h"
#include "common/tiers/on_card.h"

namespace diptych::language {
namespace {

constexpr int64_t kBlockTokens = 16;
constexpr int64_t kFewestBlockTokens = 4;
constexpr int64_t kDefaultWindows = 16;
constexpr int64_t kDefaultBytes = int64_t{512} << 20;
constexpr int64_t kWorkingBytes = int64_t{1} << 30;  // of a card: what a pass needs, and CUDA itself

int64_t WeightBytes(const ServedLanguageModel& model) {
  int64_t bytes = 0;
  for (const v1::ModelPart& part : model.description.parts()) bytes += part.bytes();
  return bytes;
}

// On a card the cache takes what is left: nothing else needs it.
int64_t DefaultOnCard(const ServedLanguageModel& model, double memory_fraction) {
  const int64_t window = WindowKvCacheBytes(model.config, model.kv_block_bytes(1));
  const auto memory = blip2::MemoryOf(c10::Device(model.description.device()));
  if (!memory) return DefaultKvCacheBytes(model, /*available=*/0);
  return std::max(window, KvRoomOnCard(*memory, memory_fraction, WeightBytes(model)));
}

}  // namespace

int64_t KvBlockTokens(int64_t query_tokens) {
  for (int64_t tokens = kBlockTokens; tokens >= kFewestBlockTokens; --tokens) {
    if (query_tokens % tokens == 0) return tokens;
  }
  return kBlockTokens;
}

int64_t WindowKvCacheBytes(const blip2::Config& config, int64_t token_bytes) {
  const int64_t tokens = KvBlockTokens(config.num_query_tokens);
  const int64_t window_blocks = (config.text.max_position_embeddings + tokens - 1) / tokens;
  return window_blocks * tokens * token_bytes;
}

int64_t DefaultKvCacheBytes(const blip2::Config& config, int64_t token_bytes, int64_t available) {
  const int64_t window_bytes = WindowKvCacheBytes(config, token_bytes);
  return std::max(window_bytes, std::min(std::max(kDefaultBytes, available / 2), kDefaultWindows * window_bytes));
}

int64_t DefaultKvCacheBytes(const ServedLanguageModel& model, int64_t available) {
  return DefaultKvCacheBytes(model.config, model.kv_block_bytes(1), available);
}

int64_t KvRoomOnCard(const blip2::DeviceMemory& memory, double fraction, int64_t weight_bytes) {
  const auto share = static_cast<int64_t>(fraction * static_cast<double>(memory.total_bytes));
  return std::max<int64_t>(0, std::min(share - weight_bytes, memory.free_bytes) - kWorkingBytes);
}

absl::StatusOr<blip2::KvPool> AllocateKvCache(const ServedLanguageModel& model, int64_t bytes, int64_t memory_limit,
                                              double memory_fraction) {
  if (bytes < 0) return absl::InvalidArgumentError("--kv_cache_bytes takes 0 or more");
  if (bytes == 0 && IsOnCard(model.description)) bytes = DefaultOnCard(model, memory_fraction);
  if (bytes == 0) bytes = DefaultKvCacheBytes(model, memory_limit == 0 ? FreeMemory() : 0);
  const int64_t block_tokens = KvBlockTokens(model.config.num_query_tokens);
  const int64_t block_bytes = model.kv_block_bytes(block_tokens);
  const int64_t blocks = std::min<int64_t>(bytes / block_bytes, std::numeric_limits<int32_t>::max());
  if (blocks < 1) {
    return absl::InvalidArgumentError(absl::StrCat("--kv_cache_bytes: one block of this model takes ", block_bytes));
  }
  blip2::KvPool pool;
  const absl::Status status = CatchExceptions("allocating the KV cache", [&] {
    pool = model.make_kv_pool(blocks, block_tokens);
    return absl::OkStatus();
  });
  if (!status.ok()) {
    return absl::ResourceExhaustedError(absl::StrCat("--kv_cache_bytes: no room for ", blocks * block_bytes, " bytes"));
  }
  return pool;
}

}  // namespace diptych::language
