// Chooses a model's dtype and computes the memory that it takes, before a weight is read.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "blip2/checkpoint/config.h"
#include "blip2/device/device.h"

namespace diptych::blip2 {

// The part of the model that one tier holds: the vision transformer, or Q-Former, projection and decoder.
enum class ModelPart { kVision, kLanguage };

// Bytes of the part's weights as they are held, within 2 % and 64 KiB.
int64_t WeightBytes(const Config& config, ModelPart part, const Placement& placement);

// True on a CPU if the part is so small that an operator ends before a second thread has begun on it
// (docs/decisions/0101-a-small-model-computes-in-one-thread.md).
bool ComputesInOneThread(const Config& config, ModelPart part, const Placement& placement);

struct ChosenPlacement {
  Placement placement;
  std::string reason;  // one line; empty if the caller chose
};

// ParsePlacement, and what it says for a dtype other than "auto". "auto" is bfloat16 on a GPU; on the CPU float32 for a
// model of less than 1 GiB in float32, and int8 for a larger one. Both tiers of a model get the same. A checkpoint of
// rounded weights takes its own type alone; INVALID_ARGUMENT else.
absl::StatusOr<ChosenPlacement> ChoosePlacement(const std::string& device, const std::string& dtype,
                                                const Config& config);

// Memory that a part of the model needs on the CPU.
struct MemoryDemand {
  ModelPart part = ModelPart::kVision;
  Placement placement;
  // Bytes of the KV cache with weights of such a placement; and of the smallest that serves. Empty: none.
  std::function<int64_t(const Placement&)> kv_cache = {};
  std::function<int64_t(const Placement&)> least_kv_cache = {};
};

// RESOURCE_EXHAUSTED, one line with what is needed, what is free and which dtype or flag would fit, if weights, KV
// cache and 256 MiB to work in are more than `free_bytes`. Demands on a GPU's memory are not judged.
absl::Status CheckFits(const Config& config, const MemoryDemand& demand, int64_t free_bytes);

}  // namespace diptych::blip2
