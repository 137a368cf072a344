// Any bytes as a .safetensors file. What is accepted must tile the file; a refusal must be one printable line.
#include <c10/core/ScalarType.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "blip2/checkpoint/safetensors.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::safetensors {
DIPTYCH_FUZZ_TARGET(safetensors) {
  using namespace diptych::blip2;  // NOLINT
  using diptych::fuzz::Require;
  static const int kFile = memfd_create("fuzz", 0);
  Require(ftruncate(kFile, 0) == 0 && pwrite(kFile, data, size, 0) == static_cast<ssize_t>(size));
  const auto opened = SafetensorsFile::Open("/proc/self/fd/" + std::to_string(kFile));
  if (!opened.ok()) {
    Require(opened.status().code() == absl::StatusCode::kInvalidArgument);
    diptych::fuzz::RequirePrintable(opened.status());
    return 0;
  }
  size_t bytes = 0;
  size_t checksum = 0;
  for (const auto& [name, entry] : (*opened)->tensors()) {
    size_t needed = c10::elementSize(entry.dtype);
    for (const int64_t dimension : entry.shape) {
      Require(dimension >= 0);
      needed *= static_cast<size_t>(dimension);
    }
    Require(needed == entry.data.size());
    for (const char c : entry.data) checksum += static_cast<unsigned char>(c);  // every byte must be readable
    bytes += needed;
  }
  Require(bytes + 8 <= size && checksum <= 255 * bytes);
  return 0;
}

}  // namespace diptych::fuzz::safetensors
