// Configuration of the language engine.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "common/stage_clock.h"

namespace diptych::language {

struct EngineOptions {
  size_t queue_limit = 64;           // requests inside, waiting or running
  size_t projection_limit = 512;     // images that wait for the Q-Former
  int64_t max_batch = 32;            // sequences that run at a time; each beam is one
  int64_t max_batched_tokens = 256;  // of one pass of the decoder
  // A reader that lets more tokens than this wait gets its sequence paused until it has taken them, and is given up
  // after `reader_patience`.
  int64_t max_unread_tokens = 256;
  SteadyDuration reader_patience = std::chrono::seconds(30);
  // A pass that takes longer is taken to hang: the engine has failed.
  SteadyDuration longest_pass = std::chrono::minutes(5);
};

}  // namespace diptych::language
