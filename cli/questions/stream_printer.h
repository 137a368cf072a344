#pragma once

#include "absl/status/statusor.h"
#include "cli/connection/client.h"
#include "diptych/v1/inference.pb.h"

namespace diptych::cli {

// Asks and shows the answer as it comes on standard output, then its timings and budget on standard error.
absl::StatusOr<v1::Answer> StreamToTerminal(Client& client, const v1::Question& question);

}  // namespace diptych::cli
