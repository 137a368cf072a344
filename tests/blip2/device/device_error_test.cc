#include "blip2/device/device_error.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <functional>
#include <new>
#include <stdexcept>

#include "common/status.h"

namespace diptych::blip2 {
namespace {

const c10::SourceLocation kHere = {"test", __FILE__, __LINE__};

std::optional<absl::Status> OfThrown(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return StatusOfDeviceError(error);
  }
  return absl::OkStatus();
}

std::optional<absl::Status> OfMessage(const char* what) {
  return OfThrown([&] { throw c10::Error(kHere, what); });
}

std::optional<absl::Status> OfCode(int code) {
  return OfThrown([&] { throw c10::AcceleratorError(kHere, code, "CUDA error: it happened\nSearch for it"); });
}

void ExpectOutOfMemory(const std::optional<absl::Status>& status) {
  ASSERT_TRUE(status.has_value());
  EXPECT_EQ(status->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(*status), reason::kOutOfMemory);
  EXPECT_FALSE(IsDeviceLost(*status));
}

TEST(DeviceErrorTest, NoRoomIsTheRequestsAlone) {
  ExpectOutOfMemory(
      OfThrown([] { throw c10::OutOfMemoryError(kHere, "CUDA out of memory. Tried to allocate 2 GiB"); }));
  ExpectOutOfMemory(OfThrown([] { throw std::bad_alloc(); }));
  ExpectOutOfMemory(OfCode(2));
  ExpectOutOfMemory(OfMessage("CUDA error: out of memory"));
  ExpectOutOfMemory(OfMessage("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"));
}

TEST(DeviceErrorTest, NoRoomOnTheHostIsSeenAsLibtorchSaysIt) {
  ExpectOutOfMemory(OfThrown([] { at::empty({int64_t{1} << 58}, at::kByte); }));
}

TEST(DeviceErrorTest, ErrorsThatStayWithTheProcessMeanThatTheDeviceIsLost) {
  // Uncorrectable memory, illegal address, launch failure, assertion in a kernel, unknown (after an Xid).
  for (const int code : {46, 214, 700, 702, 710, 714, 715, 716, 717, 718, 719, 999}) {
    const auto status = OfCode(code);
    ASSERT_TRUE(status.has_value()) << code;
    EXPECT_TRUE(IsDeviceLost(*status)) << code;
    EXPECT_EQ(status->message(), "the device failed: CUDA error: it happened");
  }
  for (const char* what : {"CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be",
                           "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx(…)`",
                           "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"}) {
    const auto status = OfMessage(what);
    ASSERT_TRUE(status.has_value()) << what;
    EXPECT_TRUE(IsDeviceLost(*status)) << what;
  }
}

TEST(DeviceErrorTest, WhatACallDidWrongSaysNothingAboutTheDevice) {
  for (const int code : {1, 9, 701}) EXPECT_EQ(OfCode(code), std::nullopt) << code;
  EXPECT_EQ(OfMessage("CUDA error: CUBLAS_STATUS_INVALID_VALUE when calling"), std::nullopt);
  EXPECT_EQ(OfMessage("expected embeddings [T, 64], got [3]"), std::nullopt);
  EXPECT_EQ(OfThrown([] { throw std::runtime_error("CUDA error: said by somebody else"); }), std::nullopt);
}

}  // namespace
}  // namespace diptych::blip2
