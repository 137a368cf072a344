// How an image is prepared for the vision transformer; shared by both tiers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

struct ImagePreparation {
  int image_size = 0;  // pixels; side of the square that the vision transformer sees
  int max_side = 0;    // pixels; 0: no pre-shrink
  int merging = 0;     // thousandths of the patch tokens that each vision layer merges away
};

// The options with the model's defaults filled in. INVALID_ARGUMENT with OPTION_RANGE, naming `path` and the
// field, if an option is out of range or the size is no multiple of `patch_size`.
absl::StatusOr<ImagePreparation> PrepareImageOptions(const v1::ImageOptions& options, std::string_view path,
                                                     int patch_size, int model_image_size);

// SHA-256 over the encoded file, its preparation and the vision model's fingerprint: two images with the
// same key have the same visual tokens. Callers with different salts have different keys.
std::string ImageKey(std::string_view encoded, const ImagePreparation& preparation, std::string_view fingerprint,
                     std::string_view cache_salt = "");

inline constexpr size_t kMaxCacheSaltBytes = 64;
// INVALID_ARGUMENT with OPTION_RANGE if it is longer.
absl::Status CheckCacheSalt(std::string_view cache_salt);

}  // namespace diptych
