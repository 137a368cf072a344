// How large the KV cache is and how it is cut.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "blip2/checkpoint/config.h"
#include "blip2/device/device_memory.h"
#include "blip2/kv_pool.h"
#include "language_service/served_model.h"

namespace diptych::language {

// 16, or the largest lower number that divides an image's query tokens, so that the images at the front of a prompt
// are whole blocks, which others can share. 16 if all such divisors are smaller than 4.
int64_t KvBlockTokens(int64_t query_tokens);

// Bytes of a window's blocks, where a token's keys and values take `token_bytes`.
int64_t WindowKvCacheBytes(const blip2::Config& config, int64_t token_bytes);
// Sixteen windows, but at most 512 MiB or half of `available` bytes, whichever is more, and at least one window.
int64_t DefaultKvCacheBytes(const blip2::Config& config, int64_t token_bytes, int64_t available);
int64_t DefaultKvCacheBytes(const ServedLanguageModel& model, int64_t available);

// A card's memory for keys and values where one tier may take `fraction` of it: all but the weights and a GiB to
// work in, and no more than what is free; 0 if that is less than nothing.
int64_t KvRoomOnCard(const blip2::DeviceMemory& memory, double fraction, int64_t weight_bytes);

// As many blocks as fit into `bytes`. 0: the default; on the CPU with the memory that is free now unless there is a
// limit, on a card KvRoomOnCard or a window. INVALID_ARGUMENT naming the flag if that is none; RESOURCE_EXHAUSTED if
// the device has no room for them.
absl::StatusOr<blip2::KvPool> AllocateKvCache(const ServedLanguageModel& model, int64_t bytes, int64_t memory_limit = 0,
                                              double memory_fraction = 1);

}  // namespace diptych::language
