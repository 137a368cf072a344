// The entry of a fuzz target: DIPTYCH_FUZZ_TARGET(name) { … `data`, `size` …; return 0; }
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

namespace diptych::fuzz {

using Target = int (*)(const uint8_t* data, size_t size);

// Those of this program by their names.
inline std::map<std::string, Target>& Targets() {
  static std::map<std::string, Target> targets;
  return targets;
}

}  // namespace diptych::fuzz

#ifdef DIPTYCH_FUZZER
// Its name is libFuzzer's, which has room for one.
#define DIPTYCH_FUZZ_TARGET(name) extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size)
#else
#define DIPTYCH_FUZZ_TARGET(name)                                                        \
  static int RunInput(const uint8_t* data, size_t size);                                 \
  static const bool is_known = diptych::fuzz::Targets().emplace(#name, RunInput).second; \
  static int RunInput(const uint8_t* data, size_t size)
#endif
