// The times between an answer's tokens, as its reader sees them.
#pragma once

#include <optional>
#include <utility>

#include "common/stage_clock.h"

namespace diptych {

struct TokenGaps {
  int count = 0;
  SteadyDuration each = {};
};

// Thread-compatible.
class TokenArrivals {
 public:
  // Tokens came together; the gaps before those that are not the answer's first. Of the first ones all but one have
  // none before them; later ones share the time since tokens came before.
  TokenGaps Arrived(int tokens, SteadyTime now) {
    if (tokens < 1) return {};
    const auto before = std::exchange(last_, now);
    if (!before) return {.count = tokens - 1, .each = SteadyDuration::zero()};
    return {.count = tokens, .each = (now - *before) / tokens};
  }

 private:
  std::optional<SteadyTime> last_;
};

}  // namespace diptych
