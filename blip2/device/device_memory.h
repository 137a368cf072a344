// The memory of the card that a model runs on, and this process' share of it.
#pragma once

#include <c10/core/Device.h>

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace diptych::blip2 {

struct DeviceMemory {
  int64_t free_bytes = 0;
  int64_t total_bytes = 0;
};

// Of a CUDA device, for all processes together; nullopt for the CPU and where CUDA does not say.
std::optional<DeviceMemory> MemoryOf(c10::Device device);

// Lets libtorch take at most this share, more than 0 and at most 1, of each card. What asks for more gets an error like
// that of a full card. Other settings of PYTORCH_CUDA_ALLOC_CONF or PYTORCH_ALLOC_CONF stay, and so does a fraction
// that stands there. Call before ParsePlacement, while there is one thread.
void LimitDeviceMemory(double fraction);

// Gives the host's pinned memory, of which libtorch keeps what uploads took, back to the system. Call when the weights
// are on the card; waits until they are.
void GiveBackPinnedMemory(c10::Device device);

struct ComputeCapability {
  int major = 0;
  int minor = 0;
  auto operator<=>(const ComputeCapability&) const = default;
};

// Of a CUDA device; 0.0 where CUDA does not say.
ComputeCapability CapabilityOf(c10::Device device);

// One line: name, compute capability, memory. Requires: a CUDA device that ParsePlacement gave.
std::string DescribeDevice(c10::Device device);

// The CUDA that the driver has, then DescribeDevice of each card that libtorch can use here; or one line that says why
// there is none.
std::vector<std::string> DescribeDevices();

}  // namespace diptych::blip2
