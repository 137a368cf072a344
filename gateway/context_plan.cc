#include "gateway/context_plan.h"

#include <algorithm>
#include <cstdint>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/requests/question_limits.h"
#include "common/status.h"

namespace diptych::gateway {
namespace {

constexpr int kMaxImagesPlanned = 16;

absl::Status OutOfRange(std::string_view field, std::string_view takes) {
  return InvalidField(reason::kOptionRange, field, absl::StrCat(std::string(field), " takes ", std::string(takes)));
}

struct TextCost {
  int text = 0;
  int history = 0;
  int turns_dropped = 0;
};

// Keeps as many of the newest pairs as fit into `room` with the last turn, of `earlier_turns` before it.
TextCost FitText(const v1::CountTokensResponse& text, int earlier_turns, int64_t room) {
  TextCost cost{.text = text.text_tokens(), .turns_dropped = earlier_turns};
  int64_t total = cost.text;
  for (int i = text.history_pair_tokens_size() - 1; i >= 0; --i) {
    total += text.history_pair_tokens(i) + text.joint_tokens();
    if (total > room) break;
    cost.text = text.text_tokens() + text.joint_tokens();
    cost.history = static_cast<int>(total) - cost.text;
    cost.turns_dropped -= 2;
  }
  return cost;
}

int HowManyFit(int64_t room, int64_t tokens_each) {
  return tokens_each <= 0 ? 0 : static_cast<int>(std::max<int64_t>(room, 0) / tokens_each);
}

int PatchTokens(int height, int width, int patch_size) {
  return (height / patch_size) * (width / patch_size);
}

// The images' part of any window.
struct ImageCost {
  int all = 0;         // tokens of all images
  int each = 0;        // of one more image
  int dense = 0;       // of all, if each patch were a token
  int dense_each = 0;  // of one more, likewise
};

// `most`: tokens of the answer, unless the request lets the window cut them.
v1::WindowPlan PlanWindow(int window, const v1::PlanContextRequest& request, const v1::CountTokensResponse& text,
                          const ImageCost& images, int most) {
  const bool cuts = request.cut_max_new_tokens();
  const int kept_free = cuts ? std::min(most, window / 4) : most;
  const TextCost cost = FitText(text, std::max(request.turns_size() - 1, 0), int64_t{window} - images.all - kept_free);
  const int beside_images = window - cost.text - cost.history;
  const int left = std::max(beside_images - images.all, std::min(most, 1));
  const int reserve = cuts ? std::min(most, left) : most;
  v1::WindowPlan plan;
  v1::ContextBudget* budget = plan.mutable_budget();
  budget->set_window(window);
  budget->set_image_tokens(images.all);
  budget->set_text_tokens(cost.text);
  budget->set_history_tokens(cost.history);
  budget->set_reserved_output(reserve);
  budget->set_remaining(beside_images - images.all);
  budget->set_turns_dropped(cost.turns_dropped);
  budget->set_dense_patch_tokens(images.dense);
  plan.set_remaining_dense(beside_images - images.dense);
  plan.set_images_that_fit(HowManyFit(int64_t{beside_images} - reserve, images.each));
  plan.set_images_that_fit_dense(HowManyFit(int64_t{beside_images} - reserve, images.dense_each));
  return plan;
}

}  // namespace

absl::Status CheckPlanRequest(const v1::PlanContextRequest& request) {
  if (request.images_size() > kMaxImagesPlanned)
    return OutOfRange("images", absl::StrCat("at most ", kMaxImagesPlanned, "; there are ", request.images_size()));
  for (const auto& image : request.images()) {
    if (std::min(image.height(), image.width()) < 1 || std::max(image.height(), image.width()) > kMaxPlannedImageSide) {
      return OutOfRange("images", absl::StrCat("sides of 1 to ", kMaxPlannedImageSide, " pixels, not ", image.width(),
                                               " x ", image.height()));
    }
  }
  if (request.patch_size() < 0 || request.patch_size() > kMaxPlannedPatchSize) {
    return OutOfRange("patch_size", absl::StrCat("0 to ", kMaxPlannedPatchSize, ", not ", request.patch_size()));
  }
  if (request.max_new_tokens() < 0 || request.max_new_tokens() > kMaxPlannedWindow) {
    return OutOfRange("max_new_tokens", absl::StrCat("0 to ", kMaxPlannedWindow, ", not ", request.max_new_tokens()));
  }
  if (request.windows_size() > kMaxPlannedWindows) {
    return OutOfRange("windows", absl::StrCat("at most ", kMaxPlannedWindows, "; there are ", request.windows_size()));
  }
  for (const int window : request.windows()) {
    if (window < 1 || window > kMaxPlannedWindow) {
      return OutOfRange("windows", absl::StrCat("1 to ", kMaxPlannedWindow, " tokens, not ", window));
    }
  }
  if (request.prompt().empty() && request.turns_size() == 0) return absl::OkStatus();
  v1::Question text;
  text.set_prompt(request.prompt());
  *text.mutable_turns() = request.turns();
  for (v1::Turn& turn : *text.mutable_turns()) turn.clear_images();
  if (request.images_size() > 0) text.add_images();  // with an image a turn may be without text
  return CheckText(text, "");
}

bool NeedsTokenCount(const v1::PlanContextRequest& request) {
  return request.patch_size() == 0 || !request.prompt().empty() || request.turns_size() > 0;
}

v1::PlanContextResponse PlanContext(const v1::PlanContextRequest& request, const v1::ModelDescription& model,
                                    const v1::CountTokensResponse& text) {
  v1::PlanContextResponse plan;
  const int patch_size = request.patch_size() > 0 ? request.patch_size() : std::max(model.patch_size(), 1);
  const int of_model = PatchTokens(model.image_size(), model.image_size(), patch_size);
  for (const auto& image : request.images()) {
    const bool resized = request.patch_size() == 0;
    plan.add_patch_tokens(resized ? of_model : PatchTokens(image.height(), image.width(), patch_size));
  }
  plan.set_query_tokens(model.query_tokens());
  plan.set_text_tokens(text.text_tokens());
  ImageCost images{
      .all = request.images_size() * model.query_tokens(), .each = model.query_tokens(), .dense_each = of_model};
  for (const int tokens : plan.patch_tokens()) images.dense += tokens;
  if (!plan.patch_tokens().empty()) images.dense_each = plan.patch_tokens(0);
  const int most = request.max_new_tokens() > 0 ? request.max_new_tokens() : model.default_max_new_tokens();
  for (const int window : request.windows()) *plan.add_windows() = PlanWindow(window, request, text, images, most);
  if (request.windows_size() == 0) {
    *plan.add_windows() = PlanWindow(model.window_tokens(), request, text, images, most);
  }
  return plan;
}

}  // namespace diptych::gateway
