// Writes checkpoints whose weights are rounded already, so that a server only has to map them.
#pragma once

#include <filesystem>

#include "absl/status/status.h"
#include "blip2/kernels/integer_weights.h"

namespace diptych::blip2 {

// Rounds the checkpoint in `from` as the servers would with --dtype int8 or int4, and writes it to `to`, which must not
// exist: the JSON and text files, with a quantization_config in config.json, and one model.safetensors. Serving it
// gives the bits that rounding at the start gives. Holds the rounded weights in memory. Errors, one line: as
// Checkpoint::Open; ALREADY_EXISTS for `to`; FAILED_PRECONDITION if `from` is rounded already; UNAVAILABLE if the disk
// takes no more, in which case nothing is left behind.
absl::Status WriteRounded(const std::filesystem::path& from, const std::filesystem::path& to, IntegerType type);

}  // namespace diptych::blip2
