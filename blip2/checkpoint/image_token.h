// The id of the image placeholder, where config.json does not state it.
#pragma once

#include <cstdint>
#include <filesystem>

#include "absl/status/statusor.h"

namespace diptych::blip2 {

// The id that transformers' Blip2Processor would give "<image>" with the tokenizer files in `folder`: the one
// that they state, else the first id after the vocabulary, else 50265, which is both in OPT's tokenizer.
// INVALID_ARGUMENT, naming the file, if a file that is there is malformed.
absl::StatusOr<int64_t> ImageTokenOfTokenizer(const std::filesystem::path& folder);

}  // namespace diptych::blip2
