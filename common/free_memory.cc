#include "common/free_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

namespace diptych {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kUnknown = std::numeric_limits<int64_t>::max();

// The number after `key` in a file of lines such as "MemAvailable: 123 kB".
std::optional<int64_t> Field(const fs::path& file, std::string_view key) {
  std::ifstream in(file);
  for (std::string word; in >> word;) {
    int64_t value = 0;
    if (word == key && in >> value) return value;
    in.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return std::nullopt;
}

// None for "max".
std::optional<int64_t> Number(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  return in >> value ? std::optional(value) : std::nullopt;
}

// What one version calls its files.
struct GroupFiles {
  const char* limit;
  const char* taken;
  const char* reclaimable;  // in memory.stat
};

int64_t LeftInGroup(const fs::path& group, const GroupFiles& files) {
  const auto limit = Number(group / files.limit), taken = Number(group / files.taken);
  if (!limit || !taken) return kUnknown;
  const int64_t reclaimable = Field(group / "memory.stat", files.reclaimable).value_or(0);
  return std::max<int64_t>(0, *limit - *taken + std::min(reclaimable, *taken));
}

// The least of the group at `path` below `hierarchy` and of those above it.
int64_t LeftInGroups(const fs::path& hierarchy, std::string_view path, const GroupFiles& files) {
  int64_t left = LeftInGroup(hierarchy, files);
  fs::path group = hierarchy;
  for (const fs::path& part : fs::path(path).relative_path()) {
    if (part == "..") return left;  // the group lies outside of what this process sees
    group /= part;
    left = std::min(left, LeftInGroup(group, files));
  }
  return left;
}

}  // namespace

int64_t FreeMemory(const fs::path& root) {
  int64_t free = kUnknown;
  if (const auto kibibytes = Field(root / "proc/meminfo", "MemAvailable:")) free = *kibibytes << 10;
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // number:controllers:path
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == line.npos || second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1), path = line.substr(second + 1);
    if (controllers.empty()) {
      free = std::min(free,
                      LeftInGroups(root / "sys/fs/cgroup", path,
                                   {.limit = "memory.max", .taken = "memory.current", .reclaimable = "inactive_file"}));
    } else if (controllers == "memory") {
      free = std::min(free, LeftInGroups(root / "sys/fs/cgroup/memory", path,
                                         {.limit = "memory.limit_in_bytes",
                                          .taken = "memory.usage_in_bytes",
                                          .reclaimable = "total_inactive_file"}));
    }
  }
  return free;
}

int64_t FreeMemoryWithin(int64_t limit) {
  return limit > 0 ? std::min(limit, FreeMemory()) : FreeMemory();
}

}  // namespace diptych
