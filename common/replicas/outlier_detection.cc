#include "common/replicas/outlier_detection.h"

#include <algorithm>

namespace diptych {

void OutlierDetection::OnAnswer(const std::string& replica, SteadyTime now) {
  Replica& known = Hear(replica, now);
  known.failures = known.ejections = 0;
}

std::optional<SteadyDuration> OutlierDetection::OnFailure(const std::string& replica, SteadyTime asked,
                                                          SteadyTime now) {
  Replica& known = Hear(replica, now);
  if (now < known.back || asked < known.failed) return std::nullopt;
  known.failed = now;
  if (++known.failures < kFailures || !MayEject(now)) return std::nullopt;
  known.failures = kFailures - 1;
  const SteadyDuration pause = std::min(kFirstEjection * (1 << std::min(known.ejections++, 10)), kLongestEjection);
  known.back = now + pause;
  return pause;
}

std::optional<SteadyTime> OutlierDetection::NextReturn(SteadyTime now) const {
  std::optional<SteadyTime> next;
  for (const auto& [name, replica] : replicas_) {
    if (replica.back > now && (!next || replica.back < *next)) next = replica.back;
  }
  return next;
}

std::vector<std::string> OutlierDetection::Remaining(SteadyTime now) const {
  std::vector<std::string> names;
  for (const auto& [name, replica] : replicas_) {
    if (replica.back <= now) names.push_back(name);
  }
  return names;
}

bool OutlierDetection::IsLeftOut(const std::string& replica, SteadyTime now) const {
  const auto known = replicas_.find(replica);
  return known != replicas_.end() && known->second.back > now;
}

int OutlierDetection::Ejected(SteadyTime now) const {
  return static_cast<int>(replicas_.size() - Remaining(now).size());
}

OutlierDetection::Replica& OutlierDetection::Hear(const std::string& replica, SteadyTime now) {
  std::erase_if(replicas_, [&](const auto& known) { return now - known.second.heard > kForgetAfter; });
  Replica& known = replicas_[replica];
  known.heard = now;
  return known;
}

bool OutlierDetection::MayEject(SteadyTime now) const {
  return 2 * (static_cast<size_t>(Ejected(now)) + 1) <= replicas_.size();
}

}  // namespace diptych
