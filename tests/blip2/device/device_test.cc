#include "blip2/device/device.h"

#include <ATen/Parallel.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "blip2/device/device_memory.h"

namespace diptych::blip2 {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(DeviceTest, ParsesEveryTypeOnTheCpu) {
  for (const auto& [word, dtype] : {std::pair{"float32", c10::ScalarType::Float},
                                    {"bfloat16", c10::ScalarType::BFloat16},
                                    {"float16", c10::ScalarType::Half}}) {
    const auto placement = ParsePlacement("cpu", word);
    ASSERT_TRUE(placement.ok()) << placement.status();
    EXPECT_TRUE(placement->device.is_cpu());
    EXPECT_EQ(placement->dtype, dtype);
    EXPECT_EQ(DTypeName(placement->dtype), word);
    EXPECT_EQ(DTypeName(*placement), word);
    EXPECT_FALSE(placement->integers.has_value());
  }
}

TEST(DeviceTest, ParsesWholeNumbersForTheCpuAndForACard) {
  for (const auto& [word, type] : {std::pair{"int8", IntegerType::kInt8}, {"int4", IntegerType::kInt4}}) {
    const auto placement = ParsePlacement("cpu", word);
    ASSERT_TRUE(placement.ok()) << placement.status();
    EXPECT_EQ(placement->integers, type);
    EXPECT_EQ(placement->dtype, c10::ScalarType::Float);
    EXPECT_EQ(DTypeName(*placement), word);
    EXPECT_FALSE(placement->weight_only());
    // No machine has that one; the refusal is not for the type.
    EXPECT_EQ(ParsePlacement("cuda:127", word).status().code(), absl::StatusCode::kFailedPrecondition);
    const Placement card = {.dtype = c10::ScalarType::BFloat16, .integers = type};
    EXPECT_TRUE(card.weight_only());
    EXPECT_EQ(DTypeName(card), word);
    EXPECT_EQ(card.kv_dtype(), c10::ScalarType::BFloat16);
  }
}

TEST(DeviceTest, FloatsOf8BitsAreForACardAlone) {
  const absl::Status on_cpu = ParsePlacement("cpu", "fp8").status();
  EXPECT_EQ(on_cpu.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(on_cpu.message()), AllOf(HasSubstr("8.9"), HasSubstr("int8"), Not(HasSubstr("\n"))));
  EXPECT_EQ(DTypeName(Placement{.dtype = c10::ScalarType::BFloat16, .float8 = true}), "fp8");
  EXPECT_EQ((Placement{.dtype = c10::ScalarType::BFloat16, .float8 = true}).kv_dtype(), c10::ScalarType::BFloat16);
}

TEST(DeviceTest, OlderCardsMultiplyNoFloatsOf8Bits) {
  const c10::Device card(c10::kCUDA, 1);
  EXPECT_TRUE(CheckFloat8(card, {.major = 8, .minor = 9}).ok());
  EXPECT_TRUE(CheckFloat8(card, {.major = 9, .minor = 0}).ok());
  const absl::Status refused = CheckFloat8(card, {.major = 8, .minor = 6});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()),
              AllOf(HasSubstr("cuda:1 has 8.6"), HasSubstr("take bfloat16"), Not(HasSubstr("\n"))));
}

TEST(DeviceTest, CardsBeforeAmpereMultiplyNoWeightsOf4Bits) {
  const c10::Device card(c10::kCUDA, 1);
  EXPECT_TRUE(CheckInt4(card, {.major = 8, .minor = 0}).ok());
  const absl::Status refused = CheckInt4(card, {.major = 7, .minor = 5});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), AllOf(HasSubstr("int4 takes"), HasSubstr("8.0"), HasSubstr("7.5"),
                                                    HasSubstr("take bfloat16"), Not(HasSubstr("\n"))));
}

TEST(DeviceTest, DTypesHaveTheNamesThatOtherProgramsUse) {
  for (const auto& [word, dtype] : {std::pair{"float", c10::ScalarType::Float},
                                    {"fp32", c10::ScalarType::Float},
                                    {"bf16", c10::ScalarType::BFloat16},
                                    {"half", c10::ScalarType::Half},
                                    {"fp16", c10::ScalarType::Half},
                                    {"auto", c10::ScalarType::Float}}) {
    const auto placement = ParsePlacement("cpu", word);
    ASSERT_TRUE(placement.ok()) << word;
    EXPECT_EQ(placement->dtype, dtype) << word;
  }
}

TEST(DeviceTest, RefusesOtherWords) {
  for (const char* device : {"", "gpu", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda: 1", "cuda:128", "cuda0",
                             "cuda:99999999999999999999", "cuda\n"}) {
    const auto placement = ParsePlacement(device, "float32");
    EXPECT_EQ(placement.status().code(), absl::StatusCode::kInvalidArgument) << device;
    EXPECT_EQ(placement.status().message().find('\n'), absl::string_view::npos);
  }
  for (const char* dtype : {"", "float8", "float64", "Float32", "int2", "INT8", "autocast"}) {
    EXPECT_EQ(ParsePlacement("cpu", dtype).status().code(), absl::StatusCode::kInvalidArgument) << dtype;
  }
}

TEST(DeviceTest, RefusesAnAbsentCudaDeviceWithARemedy) {
  // No machine has device 127, and most that run this test have none at all.
  const auto placement = ParsePlacement("cuda:127", "float16");
  ASSERT_EQ(placement.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(placement.status().message()),
              AnyOf(HasSubstr("-DTORCH_ROOT"), HasSubstr("nvidia-smi"), HasSubstr("the last one is cuda:")));
}

TEST(DeviceTest, SetsIntraOpThreadsAndForZeroWhatIsAllowedOfLibtorchsChoice) {
  const int before = at::get_num_threads();
  SetIntraOpThreads(0);
  EXPECT_EQ(at::get_num_threads(), before);
  SetIntraOpThreads(before + 1);
  EXPECT_EQ(at::get_num_threads(), before + 1);
  SetIntraOpThreads(0, before + 2);
  EXPECT_EQ(at::get_num_threads(), before + 1);
  SetIntraOpThreads(0, before);
  EXPECT_EQ(at::get_num_threads(), before);
  SetIntraOpThreads(before + 1, before);
  EXPECT_EQ(at::get_num_threads(), before + 1) << "who asks for more gets them";
  SetIntraOpThreads(before);
}

// Both names of libtorch's settings, as a user may have set them, then what it will read.
std::string LimitedFrom(const char* own, const char* general) {
  unsetenv("PYTORCH_CUDA_ALLOC_CONF");
  unsetenv("PYTORCH_ALLOC_CONF");
  if (own != nullptr) setenv("PYTORCH_CUDA_ALLOC_CONF", own, 1);
  if (general != nullptr) setenv("PYTORCH_ALLOC_CONF", general, 1);
  LimitDeviceMemory(0.25);
  const char* set = getenv("PYTORCH_CUDA_ALLOC_CONF");
  const std::string settings = set == nullptr ? "" : set;
  unsetenv("PYTORCH_CUDA_ALLOC_CONF");
  unsetenv("PYTORCH_ALLOC_CONF");
  return settings;
}

TEST(DeviceMemoryTest, TheShareOfACardStandsBesideWhatTheUserSet) {
  EXPECT_EQ(LimitedFrom(nullptr, nullptr), "per_process_memory_fraction:0.2500");
  EXPECT_EQ(LimitedFrom("", nullptr), "per_process_memory_fraction:0.2500");
  EXPECT_EQ(LimitedFrom("expandable_segments:True", nullptr),
            "expandable_segments:True,per_process_memory_fraction:0.2500");
  EXPECT_EQ(LimitedFrom(nullptr, "expandable_segments:True"),
            "expandable_segments:True,per_process_memory_fraction:0.2500");
  EXPECT_EQ(LimitedFrom("backend:native", "expandable_segments:True"),
            "backend:native,per_process_memory_fraction:0.2500");
}

TEST(DeviceMemoryTest, AShareThatTheUserSetStays) {
  EXPECT_EQ(LimitedFrom("per_process_memory_fraction:0.5", nullptr), "per_process_memory_fraction:0.5");
  EXPECT_EQ(LimitedFrom(nullptr, "per_process_memory_fraction:0.5"), "") << "libtorch reads it where it stands";
}

}  // namespace
}  // namespace diptych::blip2
