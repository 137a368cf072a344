// Records what a function gives a card (a CUDA graph), so that it can be given again by one launch.
#pragma once

#include <c10/core/Device.h>

#include <functional>

#include "absl/status/statusor.h"

namespace diptych::blip2 {

// Runs `work`, more than once, and returns what has the device do the same again, on the same memory: what `work` made
// last stays where it was. Throws what goes wrong; the device can then be used as before, but
// nothing more be recorded by this.
using RecordStep = std::function<std::function<void()>(const std::function<void()>& work)>;

// By libtorch's CUDAGraph. All that it records shares one pool of memory, so one recorded step may write over another's
// results. `work` must not copy from or to the host, nor wait for the device. FAILED_PRECONDITION if libtorch's CUDA
// half is not open or has no such functions.
absl::StatusOr<RecordStep> MakeCudaRecorder(c10::Device device);

}  // namespace diptych::blip2
