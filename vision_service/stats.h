// Counters of the vision service.
#pragma once

#include <cstdint>

#include "common/metrics/batch_sizes.h"
#include "common/stage_clock.h"

namespace diptych::vision {

// One look at the counters. Each value is exact; they are read one after the other, not at one instant.
struct VisionStats {
  // As they stand now.
  int calls_inside = 0;        // calls that bring an image, waiting, running or sending
  int images_waiting = 0;      // for an image worker or for the engine
  int images_decoding = 0;     // in an image worker
  int images_running = 0;      // in the pass of now
  int64_t inflight_bytes = 0;  // reserved for images in flight
  int64_t cache_bytes = 0;     // of visual tokens that are remembered
  int64_t cached_images = 0;   // likewise

  // Since the start.
  int64_t cache_queries = 0;  // well-formed calls that bring an image
  int64_t cache_hits = 0;     // answered from the cache
  int64_t joined_calls = 0;   // not in the cache, but in flight for another caller
  int64_t decoded_images = 0;
  int64_t passes = 0;            // of the vision transformer
  int64_t encoded_images = 0;    // through all passes: the sum of the batch sizes
  int64_t failed_images = 0;     // in the vision transformer
  int64_t abandoned_images = 0;  // left by their last caller before they were done
  int64_t visual_tokens = 0;     // computed
  SteadyDuration busy{};         // time inside passes, the one of now included
  PassesByBatchSize passes_by_batch_size{};
};

}  // namespace diptych::vision
