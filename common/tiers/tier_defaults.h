// Default values of the options of both tiers, and of their flags.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "absl/time/time.h"

namespace diptych::tier_defaults {

inline constexpr char kDevice[] = "cpu";
inline constexpr char kDtype[] = "auto";
inline constexpr int kThreads = 0;
inline constexpr int kQueueLimit = 64;
inline constexpr int64_t kMaxInflightBytes = int64_t{1} << 30;
inline constexpr absl::Duration kMaxConnectionAge = absl::Seconds(10);
inline constexpr absl::Duration kDrainDelay = absl::ZeroDuration();
inline constexpr absl::Duration kDrainTimeout = absl::Seconds(30);

// Calls a replica answers at once about as fast as one: a step of the decoder for four takes a fifth longer than for
// one; the vision transformer takes four times as long.
inline constexpr int kVisionCallsAtEase = 1;
inline constexpr int kLanguageCallsAtEase = 4;

// Images of a pass of the vision tier: a card does several in the time of one. On the CPU a pass over more visual
// tokens than stay in its caches takes longer for each.
constexpr int VisionBatch(std::string_view device, int visual_tokens) {
  constexpr int kMostTokens = 600;
  return device == "cpu" ? std::clamp(kMostTokens / std::max(visual_tokens, 1), 1, 8) : 32;
}

}  // namespace diptych::tier_defaults
