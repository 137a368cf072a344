#include "common/process/control_groups.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/str_split.h"

namespace diptych {
namespace {

namespace fs = std::filesystem;

struct Quota {
  std::optional<int64_t> time, period;  // microseconds of all cores together; of the clock
};

Quota QuotaOf(const fs::path& group, GroupVersion version) {
  if (version == GroupVersion::kFirst) {
    return {ReadNumber(group / "cpu.cfs_quota_us"), ReadNumber(group / "cpu.cfs_period_us")};
  }
  std::ifstream in(group / "cpu.max");  // "max 100000" or "150000 100000"
  int64_t time = 0, period = 0;
  return in >> time >> period ? Quota{time, period} : Quota{};
}

bool Lists(const std::string& controllers, std::string_view controller) {
  const std::vector<std::string> names = absl::StrSplit(controllers, ',');
  return absl::c_linear_search(names, controller);
}

}  // namespace

void VisitControlGroups(std::string_view controller, const fs::path& root,
                        const std::function<void(const fs::path& folder, GroupVersion version)>& look) {
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, absl::MaxSplits(':', 2));  // number:controllers:path
    if (parts.size() != 3) continue;
    const bool second = parts[1].empty();
    if (!second && !Lists(parts[1], controller)) continue;
    const GroupVersion version = second ? GroupVersion::kSecond : GroupVersion::kFirst;
    fs::path group = root / "sys/fs/cgroup";
    if (!second) group /= controller;
    look(group, version);
    for (const fs::path& part : fs::path(parts[2]).relative_path()) {
      if (part == "..") break;  // the group lies outside of what this process sees
      look(group /= part, version);
    }
  }
}

std::optional<int64_t> ReadNumber(const fs::path& file) {
  std::ifstream in(file);
  int64_t value = 0;
  return in >> value ? std::optional(value) : std::nullopt;
}

std::optional<int> ProcessorQuota(const fs::path& root) {
  std::optional<int> cores;
  VisitControlGroups("cpu", root, [&cores](const fs::path& group, GroupVersion version) {
    const auto [time, period] = QuotaOf(group, version);
    if (time.value_or(0) <= 0 || period.value_or(0) <= 0) return;  // -1: no quota
    const int here = static_cast<int>(std::min<int64_t>((*time + *period - 1) / *period, 1 << 20));
    cores = std::min(cores.value_or(here), here);
  });
  return cores;
}

}  // namespace diptych
