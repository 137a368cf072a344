// Which instructions the kernels use.
#pragma once

#include <string_view>
#include <vector>

namespace diptych::blip2 {

// Each holds what the ones before it hold. kBaseline is what every processor of the architecture has.
enum class InstructionSet { kBaseline, kAvx2, kAvx512, kAvx512Vnni, kAvx512Bf16, kAmx };

// The best that this machine has and the kernels are compiled for, or the one that they are limited to: by
// ATEN_CPU_CAPABILITY (default, avx2), which limits libtorch's own kernels, too, or as below. Thread-safe.
InstructionSet InstructionSetInUse();
// Whether an instruction in use multiplies pairs of bfloat16 (AVX512_BF16). Thread-safe.
bool MultipliesPairs();
// All of them, the best first.
std::vector<InstructionSet> InstructionSets();
std::string_view Name(InstructionSet set);

// Limits the kernels to `set` for as long as this object exists, to test and to measure them. One at a time; while
// none runs.
class LimitedInstructionSet {
 public:
  explicit LimitedInstructionSet(InstructionSet set);
  ~LimitedInstructionSet();
  LimitedInstructionSet(const LimitedInstructionSet&) = delete;
  LimitedInstructionSet& operator=(const LimitedInstructionSet&) = delete;
};

}  // namespace diptych::blip2
