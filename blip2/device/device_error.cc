#include "blip2/device/device_error.h"

#include <c10/util/Exception.h>

#include <new>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text/utf8.h"

namespace diptych::blip2 {
namespace {

// Of cudaError_t: what a call reports about itself and leaves no trace of.
constexpr int kInvalidValue = 1;
constexpr int kMemoryAllocation = 2;
constexpr int kInvalidConfiguration = 9;
constexpr int kLaunchOutOfResources = 701;

absl::Status OutOfMemory() {
  return MakeError(absl::StatusCode::kResourceExhausted, reason::kOutOfMemory,
                   "there is no memory left for this request: send a smaller one, or try again later");
}

absl::Status DeviceLost(std::string_view what) {
  return MakeError(absl::StatusCode::kUnavailable, reason::kDeviceLost,
                   absl::StrCat("the device failed: ", absl::string_view(what.data(), what.size())));
}

std::string MessageOf(const c10::Error& error) {
  return FirstLine(error.what_without_backtrace());
}

std::optional<absl::Status> OfCode(int code, std::string_view what) {
  if (code == kMemoryAllocation) return OutOfMemory();
  if (code == kInvalidValue || code == kInvalidConfiguration || code == kLaunchOutOfResources) return std::nullopt;
  return DeviceLost(what);
}

// Errors of CUDA's libraries (cuBLAS, cuDNN) and of the host's allocator carry no code but begin alike.
std::optional<absl::Status> OfMessage(std::string_view what) {
  const auto has = [what](std::string_view words) { return what.find(words) != what.npos; };
  if (has("DefaultCPUAllocator: ")) return OutOfMemory();
  if (!has("CUDA error:") && !has("cuDNN error:")) return std::nullopt;
  if (has("out of memory") || has("ALLOC_FAILED")) return OutOfMemory();
  if (has("INVALID_VALUE") || has("NOT_SUPPORTED") || has("BAD_PARAM") || has("invalid argument")) return std::nullopt;
  return DeviceLost(what);
}

}  // namespace

std::optional<absl::Status> StatusOfDeviceError(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return OutOfMemory();
  if (dynamic_cast<const c10::OutOfMemoryError*>(&error) != nullptr) return OutOfMemory();
  const auto* of_device = dynamic_cast<const c10::AcceleratorError*>(&error);
  if (of_device != nullptr) return OfCode(of_device->get_error_code(), MessageOf(*of_device));
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  return of_torch == nullptr ? std::nullopt : OfMessage(MessageOf(*of_torch));
}

}  // namespace diptych::blip2
