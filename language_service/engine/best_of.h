// Several answers to one question; its reader gets the best.
#pragma once

#include <functional>
#include <vector>

#include "language_service/engine/generate_work.h"

namespace diptych::language {

// `count` works for the engine in place of one, whose random numbers differ: the seed rises by one each. When all have
// ended, work.stream gets the answer whose tokens have the highest mean log-probability (of equals the first) in one
// piece, then its end: with the timings of the answer that was ready last. If one fails, `give_up` is called, which
// must end the others soon, and the stream ends with its error. Requires: count >= 2; a temperature; no relevance.
std::vector<GenerateWork> DrawSeveral(GenerateWork work, int count, std::function<void()> give_up);

}  // namespace diptych::language
