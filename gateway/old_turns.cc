#include "gateway/old_turns.h"

#include <cstdint>

namespace diptych::gateway {
namespace {

bool NamesItsImages(const v1::Question& question) {
  int64_t named = 0;
  for (const v1::Turn& turn : question.turns()) {
    if (turn.images() < 0) return false;
    named += turn.images();
  }
  return named > 0 && named == question.images_size();
}

bool ImagesFit(const v1::Question& question, int first, const QuestionLimits& limits) {
  int64_t bytes = 0;
  for (int i = first; i < question.images_size(); ++i) bytes += static_cast<int64_t>(question.images(i).data().size());
  return question.images_size() - first <= kMaxImages && bytes <= limits.MaxTotalImageBytes();
}

}  // namespace

int LeaveOutOldTurns(v1::Question& question, const QuestionLimits& limits) {
  if (!NamesItsImages(question)) return 0;
  int turns = 0, images = 0;
  while (turns + 2 < question.turns_size() && !ImagesFit(question, images, limits)) {
    images += question.turns(turns).images() + question.turns(turns + 1).images();
    turns += 2;
  }
  question.mutable_turns()->DeleteSubrange(0, turns);
  question.mutable_images()->DeleteSubrange(0, images);
  return turns;
}

}  // namespace diptych::gateway
