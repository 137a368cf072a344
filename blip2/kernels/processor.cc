#include "blip2/kernels/processor.h"

#include <hwy/highway.h>
#include <hwy/targets.h>

#if HWY_ARCH_X86_64 && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include <algorithm>
#include <atomic>
#include <cstdlib>

namespace diptych::blip2 {
namespace {

std::atomic<InstructionSet> limit = InstructionSet::kAmx;

// The instruction sets that libtorch's own variable allows.
InstructionSet LimitOfEnvironment() {
  const char* said = std::getenv("ATEN_CPU_CAPABILITY");
  const std::string_view capability = said == nullptr ? "" : said;
  if (capability == "default") return InstructionSet::kBaseline;
  return capability == "avx2" ? InstructionSet::kAvx2 : InstructionSet::kAmx;
}

#if HWY_ARCH_X86_64 && defined(__linux__)
// The system must be asked for the tiles' registers before their first use; it grants them to all threads.
bool AskForTiles() {
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM of asm/prctl.h
  constexpr long kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool HasAmx() {
  constexpr unsigned kBf16 = 1U << 22, kTiles = 1U << 24, kInt8 = 1U << 25;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0) return false;
  return (d & kBf16) != 0 && (d & kTiles) != 0 && (d & kInt8) != 0 && AskForTiles();
}

bool HasVnni() {
  return __builtin_cpu_supports("avx512vnni") != 0;
}

bool HasBf16() {
  return __builtin_cpu_supports("avx512bf16") != 0;
}
#else
bool HasAmx() {
  return false;
}
bool HasVnni() {
  return false;
}
bool HasBf16() {
  return false;
}
#endif

bool Has(InstructionSet set) {
  static const InstructionSet kMost = LimitOfEnvironment();
  if (set > kMost) return false;
  static const bool kVnni = HasVnni();
  static const bool kBf16 = kVnni && HasBf16();
  static const bool kAmx = kBf16 && HasAmx();
  const int64_t targets = hwy::SupportedTargets();
  switch (set) {
    case InstructionSet::kAmx:
      return kAmx && (targets & HWY_AVX3) != 0;
    case InstructionSet::kAvx512Bf16:
      return kBf16 && (targets & HWY_AVX3) != 0;
    case InstructionSet::kAvx512Vnni:
      return kVnni && (targets & HWY_AVX3) != 0;
    case InstructionSet::kAvx512:
      return (targets & HWY_AVX3) != 0;
    case InstructionSet::kAvx2:
      return (targets & HWY_AVX2) != 0;
    case InstructionSet::kBaseline:
      return true;
  }
  return false;
}

// Highway's targets that use nothing beyond `set`. A smaller number is a better target.
int64_t TargetsWithin(InstructionSet set, int64_t targets) {
  if (set >= InstructionSet::kAvx512) return targets;
  const int64_t first = set == InstructionSet::kAvx2 ? HWY_AVX2 : int64_t{HWY_AVX2} << 1;
  return targets & ~(first - 1);
}

void UseTargets(int64_t targets) {
  hwy::SetSupportedTargetsForTest(targets);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

// Those of the environment, if it limits them.
void UseDefaultTargets() {
  UseTargets(0);
  UseTargets(TargetsWithin(LimitOfEnvironment(), hwy::SupportedTargets()));
}

// Before any kernel runs.
[[maybe_unused]] const bool limited = (UseDefaultTargets(), true);

}  // namespace

std::vector<InstructionSet> InstructionSets() {
  std::vector<InstructionSet> sets;
  for (const InstructionSet set : {InstructionSet::kAmx, InstructionSet::kAvx512Bf16, InstructionSet::kAvx512Vnni,
                                   InstructionSet::kAvx512, InstructionSet::kAvx2, InstructionSet::kBaseline}) {
    if (Has(set)) sets.push_back(set);
  }
  return sets;
}

InstructionSet InstructionSetInUse() {
  static const InstructionSet kBest = InstructionSets().front();
  return std::min(kBest, limit.load(std::memory_order_relaxed));
}

bool MultipliesPairs() {
  return InstructionSetInUse() >= InstructionSet::kAvx512Bf16;
}

std::string_view Name(InstructionSet set) {
  switch (set) {
    case InstructionSet::kAmx:
      return "Amx";
    case InstructionSet::kAvx512Bf16:
      return "Avx512Bf16";
    case InstructionSet::kAvx512Vnni:
      return "Avx512Vnni";
    case InstructionSet::kAvx512:
      return "Avx512";
    case InstructionSet::kAvx2:
      return "Avx2";
    case InstructionSet::kBaseline:
      break;
  }
  return "Baseline";
}

LimitedInstructionSet::LimitedInstructionSet(InstructionSet set) {
  InstructionSetInUse();  // the best is known before anything is hidden
  limit = set;
  UseTargets(TargetsWithin(set, hwy::SupportedTargets()));
}

LimitedInstructionSet::~LimitedInstructionSet() {
  limit = InstructionSet::kAmx;
  UseDefaultTargets();
}

}  // namespace diptych::blip2
