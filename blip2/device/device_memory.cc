#include "blip2/device/device_memory.h"

#include <ATen/core/CachingHostAllocator.h>
#include <c10/core/DeviceGuard.h>
#include <dlfcn.h>

#include <array>
#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "blip2/device/device.h"
#include "blip2/device/transfer.h"

namespace diptych::blip2 {
namespace {

// CUDA's own functions, where libtorch has brought them along: its headers are not needed for these.
template <typename Function>
Function* Cuda(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

using GetMemory = int(size_t* free, size_t* total);
using GetVersion = int(int* version);
using GetAttribute = int(int* value, int attribute, int device);
using GetName = int(char* name, int length, int device);

constexpr int kMajor = 75;  // cudaDevAttrComputeCapabilityMajor
constexpr int kMinor = 76;

int Attribute(int attribute, int device) {
  auto* ask = Cuda<GetAttribute>("cudaDeviceGetAttribute");
  int value = 0;
  return ask != nullptr && ask(&value, attribute, device) == 0 ? value : 0;
}

std::string NameOf(int device) {
  std::array<char, 256> name = {};
  auto* ask = Cuda<GetName>("cuDeviceGetName");
  if (ask == nullptr) {  // the driver's library is not among those that all can see
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (driver != nullptr) ask = reinterpret_cast<GetName*>(dlsym(driver, "cuDeviceGetName"));
  }
  return ask != nullptr && ask(name.data(), name.size() - 1, device) == 0 ? name.data() : "a card";
}

std::string DriverVersion() {
  auto* ask = Cuda<GetVersion>("cudaDriverGetVersion");
  int version = 0;
  if (ask == nullptr || ask(&version) != 0) return "the driver does not tell its CUDA version";
  return absl::StrCat("the driver has CUDA ", version / 1000, ".", version % 1000 / 10);
}

}  // namespace

std::optional<DeviceMemory> MemoryOf(c10::Device device) {
  auto* ask = Cuda<GetMemory>("cudaMemGetInfo");
  if (!device.is_cuda() || ask == nullptr) return std::nullopt;
  const c10::DeviceGuard guard(device);
  size_t free = 0, total = 0;
  if (ask(&free, &total) != 0) return std::nullopt;
  return DeviceMemory{.free_bytes = static_cast<int64_t>(free), .total_bytes = static_cast<int64_t>(total)};
}

ComputeCapability CapabilityOf(c10::Device device) {
  return {.major = Attribute(kMajor, device.index()), .minor = Attribute(kMinor, device.index())};
}

std::string DescribeDevice(c10::Device device) {
  const auto [major, minor] = CapabilityOf(device);
  const std::string line =
      absl::StrCat(device.str(), ": ", NameOf(device.index()), ", compute capability ", major, ".", minor);
  const auto memory = MemoryOf(device);
  if (!memory) return line;
  constexpr double kGibibyte = 1 << 30;
  return line + absl::StrFormat(", %.1f of %.1f GiB free", static_cast<double>(memory->free_bytes) / kGibibyte,
                                static_cast<double>(memory->total_bytes) / kGibibyte);
}

void LimitDeviceMemory(double fraction) {
  constexpr char kSettings[] = "PYTORCH_CUDA_ALLOC_CONF";
  constexpr char kFraction[] = "per_process_memory_fraction";
  const char* set = std::getenv(kSettings);
  if (set == nullptr) set = std::getenv("PYTORCH_ALLOC_CONF");  // which libtorch reads where the other is not set
  std::string settings = set == nullptr ? "" : set;
  if (absl::StrContains(settings, kFraction)) return;
  if (!settings.empty()) settings += ',';
  setenv(kSettings, absl::StrFormat("%s%s:%.4f", settings, kFraction, fraction).c_str(), /*overwrite=*/1);
}

void GiveBackPinnedMemory(c10::Device device) {
  if (!device.is_cuda()) return;
  Synchronize(device);  // what a copy may still read would be kept
  at::getHostAllocator(device.type())->empty_cache();
}

std::vector<std::string> DescribeDevices() {
  auto placement = ParsePlacement("cuda:0", "auto");
  if (!placement.ok()) return {absl::StrCat("no card: ", std::string(placement.status().message()))};
  std::vector<std::string> lines = {DriverVersion()};
  for (int index = 0; placement.ok(); placement = ParsePlacement(absl::StrCat("cuda:", ++index), "auto")) {
    lines.push_back(DescribeDevice(placement->device));
  }
  return lines;
}

}  // namespace diptych::blip2
