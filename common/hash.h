// Digests: SHA-256 for identity, CRC-32C for transport.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace diptych {

using Sha256Digest = std::array<uint8_t, 32>;

// Incremental SHA-256. Thread-compatible.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void Update(std::string_view bytes);
  // Length-prefixed, so that ("ab", "c") and ("a", "bc") differ.
  void UpdateField(std::string_view bytes);
  // Ends the digest; the object must not be used afterwards.
  Sha256Digest Finish();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

std::string ToHex(std::span<const uint8_t> bytes);

// CRC-32C (Castagnoli), as iSCSI and gRPC's peers compute it: Crc32c("123456789") == 0xE3069283.
// `before`: the sum of what came before these bytes, which it then covers, too.
uint32_t Crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace diptych
