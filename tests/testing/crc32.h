// The checksum by which tests compare an image with what the reference made of it.
#pragma once

#include <boost/crc.hpp>
#include <cstdint>
#include <vector>

namespace diptych {

// CRC-32 as in zlib and Python's zlib.crc32.
inline uint32_t Crc32(const std::vector<uint8_t>& bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

}  // namespace diptych
