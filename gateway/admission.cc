#include "gateway/admission.h"

#include "common/status.h"

namespace diptych::gateway {

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
