// Which weights a product has fetched from memory while it computes.
#pragma once

#include <cstdint>

namespace diptych::blip2 {

// A tile that reads a panel line by line fetches, with its n-th line, what lies `offset` + n · `step` bytes after the
// panel's begin. What lies beyond the weights is no fault.
struct ReadAhead {
  int64_t offset = 2048;
  int64_t step = 64;
};

// Of group `group` of the rows. The first reads panels from memory, a few lines ahead of itself; the others find them
// in the caches and fetch a part each of the panels whose turn is next, `distance` bytes further on, so that memory is
// busy all the time. `lines`: of a panel.
inline ReadAhead AheadOf(int64_t group, int64_t groups, int64_t distance, int64_t lines) {
  if (group == 0) return {};
  const int64_t step = ReadAhead().step / (groups - 1);
  return {.offset = distance + (group - 1) * step * lines, .step = step};
}

}  // namespace diptych::blip2
