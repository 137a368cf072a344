// CUDA kernels of ours. They are compiled when the program runs, for the card in use, by the compiler (NVRTC) that
// libtorch brings with it, so that building needs nothing of CUDA.
#pragma once

#include <c10/core/Device.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::blip2 {

struct KernelSource {
  std::string text;
  std::string name;                      // of the kernel, an extern "C" function
  std::vector<std::string> macros = {};  // "NAME=value"
};

// Machine code for `architecture` ("sm_90"). FAILED_PRECONDITION if NVRTC is not there, or has not the architecture or
// refuses the source, in its words.
absl::StatusOr<std::string> CompileKernel(const KernelSource& source, const std::string& architecture);

// A kernel on one device, where it stays until the process ends. Thread-compatible.
class CudaKernel {
 public:
  // Compiles it for the device. Requires: libtorch's CUDA half is open. Errors as above, or the driver's.
  static absl::StatusOr<CudaKernel> Load(c10::Device device, const KernelSource& source);

  struct Grid {
    int64_t x = 0;
    int64_t y = 0;
    int threads = 0;  // of a block
  };
  // Puts it into libtorch's current stream and does not wait. `arguments` point to the kernel's. Throws
  // c10::AcceleratorError.
  void Launch(const Grid& grid, std::span<void*> arguments) const;

 private:
  CudaKernel(c10::Device device, void* context, void* function)
      : device_(device), context_(context), function_(function) {}

  c10::Device device_;
  void* context_;  // the device's, which libtorch uses, too
  void* function_;
};

}  // namespace diptych::blip2
