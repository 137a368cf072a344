#include "common/process/free_memory.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "common/process/control_groups.h"

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

struct GroupFiles {
  const char* limit;
  const char* taken;
  const char* reclaimable;  // in memory.stat
};

GroupFiles FilesOf(GroupVersion version) {
  if (version == GroupVersion::kFirst) {
    return {.limit = "memory.limit_in_bytes", .taken = "memory.usage_in_bytes", .reclaimable = "total_inactive_file"};
  }
  return {.limit = "memory.max", .taken = "memory.current", .reclaimable = "inactive_file"};
}

int64_t LeftInGroup(const fs::path& group, const GroupFiles& files) {
  const auto limit = ReadNumber(group / files.limit), taken = ReadNumber(group / files.taken);
  if (!limit || !taken) return kUnknown;
  const int64_t reclaimable = Field(group / "memory.stat", files.reclaimable).value_or(0);
  return std::max<int64_t>(0, *limit - *taken + std::min(reclaimable, *taken));
}

}  // namespace

int64_t FreeMemory(const fs::path& root) {
  int64_t free = kUnknown;
  if (const auto kibibytes = Field(root / "proc/meminfo", "MemAvailable:")) free = *kibibytes << 10;
  VisitControlGroups("memory", root, [&free](const fs::path& group, GroupVersion version) {
    free = std::min(free, LeftInGroup(group, FilesOf(version)));
  });
  return free;
}

int64_t FreeMemoryWithin(int64_t limit) {
  return limit > 0 ? std::min(limit, FreeMemory()) : FreeMemory();
}

}  // namespace diptych
