// The control groups (cgroups) that bound this process.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

namespace diptych {

enum class GroupVersion { kFirst, kSecond };

// Calls `look` with the folder of each group that bounds what `controller` ("cpu", "memory") gives this process: its
// own and those above it, as far as they can be seen. `root`: where /proc and /sys are.
void VisitControlGroups(std::string_view controller, const std::filesystem::path& root,
                        const std::function<void(const std::filesystem::path& folder, GroupVersion version)>& look);

// The number that such a file begins with; none for "max", or if there is no file.
std::optional<int64_t> ReadNumber(const std::filesystem::path& file);

// How many cores this process may keep busy, rounded up: the least quota of its groups; none: all of them.
std::optional<int> ProcessorQuota(const std::filesystem::path& root = "/");

}  // namespace diptych
