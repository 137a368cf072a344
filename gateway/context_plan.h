// The arithmetic of the context window: what images and text cost before anything is run.
#pragma once

#include "absl/status/status.h"
#include "diptych/v1/gateway.pb.h"
#include "diptych/v1/language.pb.h"

namespace diptych::gateway {

// OPTION_RANGE with the field's path if a number is outside the bounds in gateway.proto; what CheckText says
// of the text. No text at all is fine.
absl::Status CheckPlanRequest(const v1::PlanContextRequest& request);

// True if the text has to be counted by the language tier. A plan for another patch size and without text is
// arithmetic alone: its text_tokens are 0.
bool NeedsTokenCount(const v1::PlanContextRequest& request);

// Requires: CheckPlanRequest(request).ok(). An image of H x W pixels has floor(H / P) * floor(W / P) patches,
// but query_tokens tokens in the prompt. Earlier turns are left out, oldest pair first, until the rest and
// max_new_tokens fit, as the language tier does.
v1::PlanContextResponse PlanContext(const v1::PlanContextRequest& request, const v1::ModelDescription& model,
                                    const v1::CountTokensResponse& text);

}  // namespace diptych::gateway
