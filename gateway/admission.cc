#include "gateway/admission.h"

#include <algorithm>
#include <utility>

#include "common/status.h"

namespace diptych::gateway {
namespace {

// The message as it is kept for another attempt, and the copy that is received or sent.
constexpr int64_t kCopies = 2;
// The two calls, their buffers and the answer.
constexpr int64_t kCallBytes = 64 << 10;

int64_t BytesFor(int64_t message_bytes) {
  return kCopies * message_bytes + kCallBytes;
}

}  // namespace

absl::StatusOr<Admission::Memory> Admission::Reserve(const Caller& caller, int64_t message_bytes) {
  Memory memory;
  const int64_t bytes = BytesFor(message_bytes);
  if (caller != nullptr) {
    memory.callers_ = BudgetOf(caller);
    DIPTYCH_ASSIGN_OR_RETURN(memory.of_caller_, memory.callers_->Take(bytes));
  }
  DIPTYCH_ASSIGN_OR_RETURN(memory.of_all_, memory_.Take(bytes));
  return memory;
}

absl::Status Admission::Memory::Grow(int64_t message_bytes) {
  const int64_t bytes = kCopies * message_bytes;
  if (callers_ != nullptr) DIPTYCH_RETURN_IF_ERROR(of_caller_.Grow(bytes));
  return of_all_.Grow(bytes);
}

std::shared_ptr<ByteBudget> Admission::BudgetOf(const Caller& caller) {
  std::lock_guard lock(mutex_);
  std::weak_ptr<ByteBudget>& kept = budgets_[caller->name];
  auto budget = kept.lock();
  if (budget == nullptr) {
    std::erase_if(budgets_, [&](const auto& entry) { return entry.second.expired() && entry.first != caller->name; });
    budget = std::make_shared<ByteBudget>(std::max(memory_.limit() / 2, LeastBytes(limits_)));
    kept = budget;
  }
  return budget;
}

int64_t Admission::LeastBytes(const QuestionLimits& limits) {
  return BytesFor(limits.MaxMessageBytes());
}

absl::Status Admission::Check(const v1::Question& question, std::string_view served_model) const {
  const absl::Status checked = CheckQuestion(question, limits_);
  const bool to_be_fetched = image_urls_ && ReasonOf(checked) == reason::kImageUrlRefused;
  if (!checked.ok() && !to_be_fetched) return checked;
  if (question.model().empty() || served_model.empty() || question.model() == served_model) return absl::OkStatus();
  return MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown,
                   "no such model is served here; GetModel tells the one that is");
}

v1::Limits Admission::ToProto() const {
  v1::Limits proto;
  proto.set_max_image_bytes(limits_.image.max_bytes);
  proto.set_max_image_pixels(limits_.image.max_pixels);
  proto.set_max_images(kMaxImages);
  proto.set_max_prompt_bytes(kMaxTextBytes);
  proto.set_max_inflight(max_inflight_);
  return proto;
}

}  // namespace diptych::gateway
