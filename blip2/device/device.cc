#include "blip2/device/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <initializer_list>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "blip2/json_reader.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

constexpr int kMaxDeviceIndex = 127;  // of c10::DeviceIndex

std::optional<Placement> ParseDType(std::string_view word, const c10::Device& device) {
  if (word == "auto") word = device.is_cuda() ? "bfloat16" : "float32";
  const auto is = [word](std::initializer_list<std::string_view> names) {
    return std::find(names.begin(), names.end(), word) != names.end();
  };
  if (is({"float32", "float", "fp32"})) return Placement{.device = device, .dtype = c10::ScalarType::Float};
  if (is({"bfloat16", "bf16"})) return Placement{.device = device, .dtype = c10::ScalarType::BFloat16};
  if (is({"float16", "half", "fp16"})) return Placement{.device = device, .dtype = c10::ScalarType::Half};
  const auto beside_integers = device.is_cuda() ? c10::ScalarType::BFloat16 : c10::ScalarType::Float;
  if (word == "int8") return Placement{.device = device, .dtype = beside_integers, .integers = IntegerType::kInt8};
  if (word == "int4") return Placement{.device = device, .dtype = beside_integers, .integers = IntegerType::kInt4};
  if (word == "fp8") return Placement{.device = device, .dtype = c10::ScalarType::BFloat16, .float8 = true};
  return std::nullopt;
}

// "cuda" is "cuda:0".
std::optional<c10::Device> ParseDevice(std::string_view word) {
  constexpr std::string_view kCuda = "cuda";
  if (word == "cpu") return c10::Device(c10::DeviceType::CPU);
  if (!word.starts_with(kCuda)) return std::nullopt;
  word.remove_prefix(kCuda.size());
  if (word.empty()) return c10::Device(c10::DeviceType::CUDA, 0);
  if (word.front() != ':' || word.find_first_not_of("0123456789", 1) != word.npos) return std::nullopt;
  int index = 0;
  if (!absl::SimpleAtoi(absl::string_view(word.data() + 1, word.size() - 1), &index)) return std::nullopt;
  if (index > kMaxDeviceIndex) return std::nullopt;
  return c10::Device(c10::DeviceType::CUDA, static_cast<c10::DeviceIndex>(index));
}

// Opens libtorch's CUDA half, whose static initialisers register its operators. It must come before the
// first question to at::hasCUDA, which keeps its first answer.
bool OpenCudaLibrary() {
  static const bool kOpened = [] {
    constexpr char kLibrary[] = "libtorch_cuda.so";
    if (dlopen(kLibrary, RTLD_NOW | RTLD_GLOBAL) != nullptr) return true;
    Dl_info libtorch = {};
    if (dladdr(reinterpret_cast<const void*>(&at::globalContext), &libtorch) == 0) return false;
    const std::filesystem::path beside = std::filesystem::path(libtorch.dli_fname).replace_filename(kLibrary);
    return dlopen(beside.c_str(), RTLD_NOW | RTLD_GLOBAL) != nullptr;
  }();
  return kOpened;
}

absl::Status CheckCuda(c10::DeviceIndex index) {
  if (!OpenCudaLibrary()) {
    return absl::FailedPreconditionError(
        "libtorch_cuda.so cannot be opened: build against a CUDA libtorch (-DTORCH_ROOT) whose nvidia libraries are "
        "beside it, or run on cpu; LD_DEBUG=libs shows which library is missing");
  }
  const size_t devices = at::hasCUDA() ? at::getNumGPUs() : 0;
  if (devices == 0) {
    return absl::FailedPreconditionError(
        "no CUDA device: check that nvidia-smi lists one and that CUDA_VISIBLE_DEVICES does not hide it, or run on "
        "cpu");
  }
  if (static_cast<size_t>(index) >= devices) {
    return absl::FailedPreconditionError(
        absl::StrCat("no device cuda:", static_cast<int>(index), ": the last one is cuda:", devices - 1));
  }
  return absl::OkStatus();
}

absl::Status CheckCapability(const char* dtype, c10::Device device, const ComputeCapability& has,
                             const ComputeCapability& least) {
  if (has >= least) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("dtype ", dtype, " takes a GPU of compute capability ", least.major,
                                                    ".", least.minor, " or newer, and ", device.str(), " has ",
                                                    has.major, ".", has.minor, ": take bfloat16"));
}

}  // namespace

absl::Status CheckFloat8(c10::Device device, const ComputeCapability& capability) {
  return CheckCapability("fp8", device, capability, {.major = 8, .minor = 9});
}

absl::Status CheckInt4(c10::Device device, const ComputeCapability& capability) {
  return CheckCapability("int4", device, capability, {.major = 8, .minor = 0});
}

absl::StatusOr<Placement> ParsePlacement(std::string_view device, std::string_view dtype) {
  const std::optional<c10::Device> parsed_device = ParseDevice(device);
  if (!parsed_device) {
    return absl::InvalidArgumentError(absl::StrCat("device \"", Printable(device), "\" is none of cpu, cuda, cuda:N"));
  }
  const std::optional<Placement> placement = ParseDType(dtype, *parsed_device);
  if (!placement) {
    return absl::InvalidArgumentError(absl::StrCat("dtype \"", Printable(dtype),
                                                   "\" is none of float32 (float, fp32), bfloat16 (bf16), float16 "
                                                   "(half, fp16), int8, int4, fp8, auto"));
  }
  if (placement->float8 && parsed_device->is_cpu()) {
    return absl::InvalidArgumentError(
        "dtype fp8 is for a GPU of compute capability 8.9 or newer: take int8 on the cpu");
  }
  if (parsed_device->is_cuda()) DIPTYCH_RETURN_IF_ERROR(CheckCuda(parsed_device->index()));
  if (placement->float8) DIPTYCH_RETURN_IF_ERROR(CheckFloat8(*parsed_device, CapabilityOf(*parsed_device)));
  if (parsed_device->is_cuda() && placement->integers == IntegerType::kInt4) {
    DIPTYCH_RETURN_IF_ERROR(CheckInt4(*parsed_device, CapabilityOf(*parsed_device)));
  }
  return *placement;
}

std::string DTypeName(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::ScalarType::BFloat16:
      return "bfloat16";
    case c10::ScalarType::Half:
      return "float16";
    default:
      return "float32";
  }
}

std::string DTypeName(const Placement& placement) {
  if (placement.float8) return "fp8";
  if (!placement.integers) return DTypeName(placement.dtype);
  return *placement.integers == IntegerType::kInt8 ? "int8" : "int4";
}

void SetIntraOpThreads(int threads, std::optional<int> at_most) {
  if (threads == 0 && at_most && *at_most < at::get_num_threads()) threads = *at_most;
  if (threads > 0) at::set_num_threads(threads);
}

}  // namespace diptych::blip2
