#include "common/process/descriptors.h"

#include <sys/resource.h>

#include <algorithm>

namespace diptych {
namespace {

// More than any honest load needs; what gRPC keeps for so many connections is some hundred MiB.
constexpr rlim_t kMostDescriptors = 8192;

}  // namespace

int DescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  if (limit.rlim_cur < kMostDescriptors) {
    rlimit raised{.rlim_cur = std::min(limit.rlim_max, kMostDescriptors), .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return static_cast<int>(std::min(limit.rlim_cur, kMostDescriptors));
}

}  // namespace diptych
