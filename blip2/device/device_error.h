// Reads from libtorch's exceptions what happened to the device that a model runs on.
#pragma once

#include <exception>
#include <optional>

#include "absl/status/status.h"

namespace diptych::blip2 {

// RESOURCE_EXHAUSTED with OUT_OF_MEMORY if device or machine had no room for what the call asked for: later calls may
// succeed. UNAVAILABLE with DEVICE_LOST if the device failed: CUDA then fails every later call of the process, too.
// nullopt for all else, such as a call that the device refused as wrong. Messages name no request's content.
std::optional<absl::Status> StatusOfDeviceError(const std::exception& error);

}  // namespace diptych::blip2
