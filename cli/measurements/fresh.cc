#include "cli/measurements/fresh.h"

#include <atomic>
#include <random>

#include "absl/strings/str_cat.h"
#include "cli/images/image.h"
#include "common/status.h"

namespace diptych::cli {

uint64_t FreshNumber() {
  static std::atomic<uint64_t> number = std::random_device{}();
  return ++number;
}

void KeepFromCaches(v1::ImageOptions& options) {
  constexpr int kLargest = 8192, kDifferent = 2048;
  if (!options.has_max_side()) options.set_max_side(kLargest - static_cast<int>(FreshNumber() % kDifferent));
}

absl::StatusOr<v1::Question> FreshQuestion(int images, int side, int new_tokens) {
  v1::Question question;
  v1::Turn* turn = question.add_turns();
  turn->set_role(v1::ROLE_USER);
  turn->set_text(absl::StrCat(10000 + FreshNumber() % 90000, ": what is in the image?"));
  for (int i = 0; i < images; ++i) {
    DIPTYCH_ASSIGN_OR_RETURN(*question.add_images()->mutable_data(), WritePng(DrawnImage(FreshNumber(), side)));
  }
  question.mutable_generation()->set_max_new_tokens(new_tokens);
  question.mutable_generation()->set_min_new_tokens(new_tokens);
  return question;
}

int CacheHitsOf(const v1::Answer& answer) {
  const v1::CacheHits& hits = answer.timings().cache_hits();
  return hits.vision_tokens() + hits.projected_tokens() + hits.kv_prefix();
}

}  // namespace diptych::cli
