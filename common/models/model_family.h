// Which checkpoints are served.
#pragma once

#include <string_view>

#include "absl/status/status.h"

namespace diptych {

// quantization_config.quant_method of what `diptych quantize` writes, the only one that is read.
inline constexpr char kRoundedMethod[] = "diptych";

// OK for BLIP-2 with an OPT decoder. INVALID_ARGUMENT names what it is in place of that, and what is served. The
// arguments are model_type and text_config.model_type of config.json; empty where it has none, which its readers take
// for the family's own.
absl::Status CheckFamily(std::string_view model_type, std::string_view text_model_type);

}  // namespace diptych
