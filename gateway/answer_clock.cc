#include "gateway/answer_clock.h"

#include <algorithm>

namespace diptych::gateway {

TokenGaps AnswerClock::OnDelta(const v1::Delta& delta, SteadyTime now) {
  const bool has_token = !delta.text().empty() || delta.token_ids_size() > 0;
  if (has_token && !first_token_) first_token_ = now;
  return arrivals_.Arrived(delta.token_ids_size(), now);
}

void AnswerClock::Join(v1::StageTimings& timings, SteadyTime asked, SteadyTime now) const {
  const SteadyDuration tier = FromProtoDuration(timings.total());
  const SteadyDuration beyond = std::max(now - arrival_ - tier, SteadyDuration::zero());
  *timings.mutable_gateway() = ToProtoDuration(FromProtoDuration(timings.gateway()) + beyond);
  *timings.mutable_total() = ToProtoDuration(tier + beyond);
  timings.mutable_cache_hits();  // present also when nothing was found in a cache
  const SteadyDuration first_shown = first_token_.value_or(now) - arrival_;
  *timings.mutable_time_to_first_token() = ToProtoDuration(first_shown);
  // The token was chosen before it was shown, whatever the clocks say.
  const SteadyDuration first_token =
      timings.has_first_token() ? asked - arrival_ + FromProtoDuration(timings.first_token()) : first_shown;
  *timings.mutable_first_token() = ToProtoDuration(std::min(first_token, first_shown));
}

}  // namespace diptych::gateway
