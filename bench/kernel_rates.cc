// Rates of the linear maps' kernels on every instruction set of this machine, next to what memory and libtorch give.
//
//   build/release/bin/kernel_rates --mebibytes=1024 --rounds=5
//
// Few rows: GB/s of weights, over so many matrices that none is in a cache when its turn comes, and the same as a
// share of plain reads. Many rows: 10⁹ operations a second (a multiplication and an addition are two), and the same
// over libtorch's product in float32. The kernels take turns with what they are compared with; medians of all rounds.
// Time is the threads' processor time, so that a machine that others use gives about the same figures; with --clock the
// time that passed, which is the one to take on a quiet machine.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "bench/median.h"
#include "bench/plain_reads.h"
#include "blip2/kernels/processor.h"
#include "blip2/layers.h"
#include "blip2/matrices/integer_matrix.h"
#include "blip2/matrices/pair_matrix.h"

ABSL_FLAG(int, threads, 0, "Threads of one operator; 0: one for each core");
ABSL_FLAG(int, mebibytes, 1024, "Weights over which few rows are measured; more than the caches hold");
ABSL_FLAG(bool, clock, false, "Measure on the clock");
ABSL_FLAG(int, rounds, 5, "Rounds over all kernels");

namespace {

using namespace diptych::blip2;  // NOLINT

struct Shape {
  int64_t in;
  int64_t out;
};
constexpr Shape kOfDecoder = {2560, 10240};
constexpr Shape kOfVision = {1408, 6144};
constexpr int64_t kFewRows[] = {1, 2, 4, 8, 16, 24};
constexpr int64_t kManyRows[] = {43, 257};

double SecondsOf(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Of one thread.
double Seconds(const std::function<void()>& run) {
  const bool clock = absl::GetFlag(FLAGS_clock);
  const auto now = [clock] { return clock ? SecondsOf(CLOCK_MONOTONIC) : SecondsOf(CLOCK_PROCESS_CPUTIME_ID); };
  const double start = now();
  run();
  return (now() - start) / (clock ? 1 : at::get_num_threads());
}

// One way to multiply.
struct Kernel {
  std::string name;
  std::vector<Linear> matrices;  // of equal shape
  int64_t bytes = 0;             // of one
};

Linear RandomLinear(const Shape& shape, at::ScalarType dtype) {
  return {.weight = at::randn({shape.out, shape.in}).mul_(0.02).to(dtype), .bias = {}, .integers = {}};
}

Kernel OfFloats(const char* name, const Shape& shape, at::ScalarType dtype, int64_t bytes) {
  Kernel kernel{
      .name = name, .matrices = {}, .bytes = shape.in * shape.out * static_cast<int64_t>(c10::elementSize(dtype))};
  const Linear one = RandomLinear(shape, dtype);
  for (int64_t held = 0; held == 0 || held < bytes; held += kernel.bytes) {
    kernel.matrices.push_back({.weight = one.weight.clone(), .bias = {}, .integers = {}});
  }
  return kernel;
}

Kernel OfPairs(const char* name, const Shape& shape, int64_t bytes) {
  Kernel kernel{.name = name, .matrices = {}};
  const Linear one = RandomLinear(shape, at::kBFloat16);
  for (int64_t held = 0; held == 0 || held < bytes; held += kernel.bytes) {
    auto pairs = std::make_shared<PairMatrix>(one.weight, std::nullopt);
    kernel.bytes = pairs->bytes();
    kernel.matrices.push_back({.weight = {}, .bias = {}, .integers = {}, .pairs = std::move(pairs)});
  }
  return kernel;
}

Kernel OfIntegers(const char* name, const Shape& shape, IntegerType type, int64_t bytes,
                  ActivationBits activations = ActivationBits::k14) {
  Kernel kernel{.name = name, .matrices = {}, .bytes = 0};
  const Linear one = RandomLinear(shape, at::kFloat);
  for (int64_t held = 0; held == 0 || held < bytes; held += kernel.bytes) {
    auto integers = std::make_shared<IntegerMatrix>(type, one.weight, std::nullopt, at::Tensor(), activations);
    kernel.bytes = integers->bytes();
    kernel.matrices.push_back({.weight = {}, .bias = {}, .integers = std::move(integers)});
  }
  return kernel;
}

// Seconds of one product, over all matrices in turn.
double Multiply(const Kernel& kernel, const at::Tensor& x) {
  return Seconds([&] {
           for (const Linear& matrix : kernel.matrices) matrix(x);
         }) /
         static_cast<double>(kernel.matrices.size());
}

void FewRows(const Kernel& kernel, at::ScalarType dtype, const at::Tensor& memory) {
  for (const InstructionSet set : InstructionSets()) {
    const LimitedInstructionSet limited(set);
    for (const int64_t rows : kFewRows) {
      const at::Tensor x = at::randn({rows, kOfDecoder.in}).to(dtype);
      std::vector<double> seconds, shares;
      for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
        const double reads = ReadRate(memory, Seconds);
        seconds.push_back(Multiply(kernel, x));
        shares.push_back(static_cast<double>(kernel.bytes) / seconds.back() / reads);
      }
      std::printf("| %s | %s | %ld | %.2f | %.1f | %.2f |\n", kernel.name.c_str(), std::string(Name(set)).c_str(), rows,
                  Median(seconds) * 1e3, static_cast<double>(kernel.bytes) / Median(seconds) / 1e9, Median(shares));
    }
  }
}

void ManyRows(const Kernel& kernel, const Shape& shape, at::ScalarType dtype) {
  const Linear floats = RandomLinear(shape, at::kFloat);
  for (const InstructionSet set : InstructionSets()) {
    const LimitedInstructionSet limited(set);
    for (const int64_t rows : kManyRows) {
      const at::Tensor x = at::randn({rows, shape.in}), narrow = x.to(dtype);
      std::vector<double> seconds, ratios;
      for (int round = 0; round < absl::GetFlag(FLAGS_rounds); ++round) {
        const double of_floats = Seconds([&] { at::linear(x, floats.weight); });
        seconds.push_back(Multiply(kernel, narrow));
        ratios.push_back(of_floats / seconds.back());
      }
      std::printf("| %s | %s | %ld × %ld × %ld | %.2f | %.0f | %.2f |\n", kernel.name.c_str(),
                  std::string(Name(set)).c_str(), rows, shape.in, shape.out, Median(seconds) * 1e3,
                  2e-9 * static_cast<double>(rows * shape.in * shape.out) / Median(seconds), Median(ratios));
    }
  }
}

void Run() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const int64_t bytes = int64_t{absl::GetFlag(FLAGS_mebibytes)} << 20;
  const at::Tensor memory = MemoryToRead(bytes);
  std::printf(
      "%d threads\n\n| weights | instructions | rows | ms | GB/s | of plain reads |\n|---|---|---|---|---|---|\n",
      at::get_num_threads());
  FewRows(OfIntegers("int8", kOfDecoder, IntegerType::kInt8, bytes), at::kFloat, memory);
  FewRows(OfIntegers("int8, activations too", kOfDecoder, IntegerType::kInt8, bytes, ActivationBits::k7), at::kFloat,
          memory);
  FewRows(OfIntegers("int4", kOfDecoder, IntegerType::kInt4, bytes), at::kFloat, memory);
  FewRows(OfIntegers("int4, activations too", kOfDecoder, IntegerType::kInt4, bytes, ActivationBits::k7), at::kFloat,
          memory);
  FewRows(OfFloats("bfloat16", kOfDecoder, at::kBFloat16, bytes), at::kBFloat16, memory);
  FewRows(OfPairs("bfloat16 in panels", kOfDecoder, bytes), at::kBFloat16, memory);
  std::printf(
      "\n| weights | instructions | shape | ms | GFLOP/s | × libtorch's float32 |\n|---|---|---|---|---|---|\n");
  for (const Shape& shape : {kOfDecoder, kOfVision}) {
    ManyRows(OfIntegers("int8", shape, IntegerType::kInt8, 0), shape, at::kFloat);
    ManyRows(OfIntegers("int8, activations too", shape, IntegerType::kInt8, 0, ActivationBits::k7), shape, at::kFloat);
    ManyRows(OfIntegers("int4", shape, IntegerType::kInt4, 0), shape, at::kFloat);
    ManyRows(OfIntegers("int4, activations too", shape, IntegerType::kInt4, 0, ActivationBits::k7), shape, at::kFloat);
    ManyRows(OfFloats("bfloat16", shape, at::kBFloat16, 0), shape, at::kBFloat16);
    ManyRows(OfPairs("bfloat16 in panels", shape, 0), shape, at::kBFloat16);
  }
}

}  // namespace

int main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  SetIntraOpThreads(absl::GetFlag(FLAGS_threads));
  const c10::InferenceMode inference;
  Run();
  return 0;
}
