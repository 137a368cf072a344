// A number of bytes as people write it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"

namespace diptych {

// The type of flags that take bytes: "4GiB", "512MB", "1.5 GiB", "268435456". KiB, MiB, GiB and TiB, like K, M, G and
// T, count in powers of 1024; kB, MB, GB and TB in powers of 1000. Capitals and small letters are alike.
struct ByteSize {
  int64_t bytes = 0;

  operator int64_t() const { return bytes; }
};

// For absl flags. False, with the reason, for anything else and for what does not fit into 63 bits.
bool AbslParseFlag(absl::string_view text, ByteSize* size, std::string* error);
// Parsed again, it gives the same number: "256MiB", "1000".
std::string AbslUnparseFlag(ByteSize size);

}  // namespace diptych
