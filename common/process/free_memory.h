// Memory that this process may still take.
#pragma once

#include <cstdint>
#include <filesystem>

namespace diptych {

// Bytes: the least of what the machine has available without swapping and what this process' control group (version 1
// or 2) and those above it leave, their reclaimable file pages not counted as taken. The largest int64_t where the
// system says nothing. `root`: where /proc and /sys are.
int64_t FreeMemory(const std::filesystem::path& root = "/");
// The same, at most `limit` bytes; 0: no limit.
int64_t FreeMemoryWithin(int64_t limit);

}  // namespace diptych
