#include "common/requests/image_preparation.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/requests/question_limits.h"
#include "common/status.h"

namespace diptych {

absl::StatusOr<ImagePreparation> PrepareImageOptions(const v1::ImageOptions& options, std::string_view path,
                                                     int patch_size, int model_image_size) {
  DIPTYCH_RETURN_IF_ERROR(CheckImageOptions(options, path));
  const int size = options.has_image_size() ? options.image_size() : model_image_size;
  if (size % patch_size != 0) {
    return InvalidField(
        reason::kOptionRange, absl::StrCat(std::string(path), ".image_size"),
        absl::StrCat("image_size takes a multiple of the patch size, which is ", patch_size, ", not ", size));
  }
  return ImagePreparation{.image_size = size,
                          .max_side = options.max_side(),
                          .merging = static_cast<int>(std::lround(1000 * options.token_merging()))};
}

std::string ImageKey(std::string_view encoded, const ImagePreparation& preparation, std::string_view fingerprint,
                     std::string_view cache_salt) {
  Sha256 hash;
  hash.UpdateField(encoded);
  hash.UpdateField(absl::StrCat(preparation.image_size, ",", preparation.max_side, ",", preparation.merging));
  hash.UpdateField(fingerprint);
  if (!cache_salt.empty()) hash.UpdateField(cache_salt);
  const Sha256Digest digest = hash.Finish();
  return std::string(digest.begin(), digest.end());
}

absl::Status CheckCacheSalt(std::string_view cache_salt) {
  if (cache_salt.size() <= kMaxCacheSaltBytes) return absl::OkStatus();
  return InvalidField(reason::kOptionRange, "cache_salt",
                      absl::StrCat("cache_salt takes at most ", kMaxCacheSaltBytes, " bytes"));
}

}  // namespace diptych
