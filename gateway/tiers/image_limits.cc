#include "gateway/tiers/image_limits.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace diptych::gateway {
namespace {

// One bound: its flag, which the tiers have, too, the gateway's value and each tier's; 0 is not said.
struct ImageBound {
  const char* flag;
  int64_t usual, own, language, vision;
};

// Empty unless it was raised on the gateway alone.
std::string WhyInVain(const ImageBound& bound) {
  std::vector<std::string> smaller;
  int64_t least = bound.own;
  for (const auto& [tier, value] : {std::pair("vision_service", bound.vision), {"language_service", bound.language}}) {
    if (value <= 0 || value >= bound.own) continue;
    smaller.push_back(absl::StrCat(tier, " --", bound.flag, "=", value));
    least = std::min(least, value);
  }
  if (bound.own <= bound.usual || smaller.empty()) return "";
  return absl::StrCat("gateway --", bound.flag, "=", bound.own, " has no effect above ", least,
                      ": raise the tiers' flag, too: ", absl::StrJoin(smaller, ", "));
}

}  // namespace

void NarrowTo(const v1::ModelDescription& tier, ImageLimits& limits) {
  if (tier.max_image_bytes() > 0) limits.max_bytes = std::min(limits.max_bytes, int64_t{tier.max_image_bytes()});
  if (tier.max_image_pixels() > 0) limits.max_pixels = std::min(limits.max_pixels, int64_t{tier.max_image_pixels()});
}

std::vector<std::string> RaisedInVain(const ImageLimits& own, const v1::ModelDescription& language,
                                      const v1::ModelDescription& vision) {
  const ImageBound bounds[] = {
      {.flag = "max_image_bytes",
       .usual = ImageLimits().max_bytes,
       .own = own.max_bytes,
       .language = language.max_image_bytes(),
       .vision = vision.max_image_bytes()},
      {.flag = "max_image_pixels",
       .usual = ImageLimits().max_pixels,
       .own = own.max_pixels,
       .language = language.max_image_pixels(),
       .vision = vision.max_image_pixels()},
  };
  std::vector<std::string> lines;
  for (const ImageBound& bound : bounds) {
    if (std::string why = WhyInVain(bound); !why.empty()) lines.push_back(std::move(why));
  }
  return lines;
}

}  // namespace diptych::gateway
