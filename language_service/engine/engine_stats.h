// State and counters of the language engine, for metrics.
#pragma once

#include <cstdint>

#include "common/metrics/batch_sizes.h"

namespace diptych::language {

// The state after some pass of the engine thread; the numbers of one request may be ahead of another's.
struct EngineStats {
  int64_t requests_running = 0;
  int64_t requests_waiting = 0;  // for a place, for blocks, for their reader
  int64_t kv_block_tokens = 0;   // of one block
  int64_t kv_block_bytes = 0;
  int64_t kv_blocks_total = 0;
  int64_t kv_blocks_used = 0;    // held by running requests
  int64_t kv_blocks_cached = 0;  // not held, kept for later requests
  int64_t last_batch = 0;        // rows of the last pass

  // Since the start.
  int64_t passes = 0;
  int64_t rows = 0;                          // of all passes
  PassesByBatchSize passes_by_batch_size{};  // a batch is a pass's rows
  int64_t prefill_tokens = 0;                // that went through the decoder before their request's first token
  int64_t decode_tokens = 0;                 // that went through it afterwards
  int64_t generated_tokens = 0;
  int64_t prompt_tokens = 0;  // of all requests that were started
  int64_t cached_tokens = 0;  // of these, found in the KV cache
  int64_t preemptions = 0;
  int64_t projections = 0;      // images that went through the Q-Former
  int64_t failed_requests = 0;  // INTERNAL: by an exception or scores that are not finite
  int64_t slow_readers = 0;     // given up
};

}  // namespace diptych::language
