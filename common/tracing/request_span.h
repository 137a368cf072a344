// The attributes of requests' spans, with the same names in all processes.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/stage_clock.h"
#include "common/tracing/span.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

// The event of the first token.
inline constexpr std::string_view kFirstToken = "first_token";

// Ids and key names that are not printable are left out; the key's name, never the key.
void SetRequest(Span& span, std::string_view request_id, std::string_view key_name);
void SetTokens(Span& span, int64_t prompt_tokens, int64_t generated_tokens);
// Sets the attributes that only a complete answer has.
void SetAnswer(Span& span, const v1::Answer& answer);

// The stages of the language tier's own answer as parts, one after the other from `arrival`. Those that take turns, as
// queue and prefill or queue and decode do, are one part each, as long as all their turns; what the vision tier and the
// way to it took is the part "images".
void AddStages(const Span& span, const v1::StageTimings& timings, SteadyTime arrival);

// Ends the span of a call to a tier: the `attempt`th, counted from 1, which the replica at `address` answered.
void EndAttempt(Span& span, int attempt, std::string_view address, const absl::Status& status);

}  // namespace diptych
