#include "gateway/admission.h"

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

absl::StatusOr<ByteBudget::Lease> Admission::Reserve(int64_t message_bytes) {
  return memory_.Take(BytesFor(message_bytes));
}

int64_t Admission::LeastBytes(const QuestionLimits& limits) {
  return BytesFor(limits.MaxMessageBytes());
}

absl::StatusOr<CallGate::Ticket> Admission::Admit(const v1::Question& question, std::string_view served_model) {
  DIPTYCH_RETURN_IF_ERROR(CheckQuestion(question, limits_));
  if (!question.model().empty() && !served_model.empty() && question.model() != served_model) {
    return MakeError(absl::StatusCode::kNotFound, reason::kModelUnknown,
                     "no such model is served here; GetModel tells the one that is");
  }
  return gate_.Enter();
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
