// Which turns of a long conversation are dropped.
#pragma once

#include "common/requests/question_limits.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::gateway {

// Takes the oldest turns out of `question`, question and answer together and with their images, until the images are
// within the bounds in count and bytes. The last turn stays. Returns how many turns went. Does nothing where the turns
// do not say which images are theirs, or say it wrongly: CheckQuestion refuses that.
int LeaveOutOldTurns(v1::Question& question, const QuestionLimits& limits);

}  // namespace diptych::gateway
