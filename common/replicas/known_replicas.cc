#include "common/replicas/known_replicas.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace diptych {
namespace {

std::shared_ptr<void> CountOne(std::shared_ptr<std::atomic<int>> calls) {
  ++*calls;
  return {nullptr, [calls = std::move(calls)](void*) { --*calls; }};
}

}  // namespace

bool KnownReplicas::OnSeen(const std::string& replica, SteadyTime now) {
  Replica& known = replicas_[replica];
  const bool is_new = known.channel == nullptr;
  if (is_new) {
    known.address = AffinityKeyOf({replica});
    known.channel = maker_->MakeTo({replica});
    known.channel->GetState(/*try_to_connect=*/true);
  }
  known.seen = now;
  return is_new;
}

void KnownReplicas::Rest(const std::string& replica, SteadyTime now) {
  const auto known = replicas_.find(replica);
  if (known != replicas_.end()) known->second.rests_until = now + kRest;
}

void KnownReplicas::ForgetOld(SteadyTime now) {
  std::erase_if(replicas_, [&](const auto& known) { return now - known.second.seen > kForgetAfter; });
}

size_t KnownReplicas::ready() const {
  return std::count_if(replicas_.begin(), replicas_.end(), [](const auto& known) { return known.second.IsReady(); });
}

Route KnownReplicas::Choose(AffinityKey key, const OutlierDetection& detection, SteadyTime now) const {
  if (replicas_.size() < 2) return {};
  std::vector<const Replica*> replicas;
  std::vector<ReplicaLoad> loads;
  for (const auto& [name, replica] : replicas_) {
    if (!replica.IsReady() || now < replica.rests_until || detection.IsLeftOut(name, now)) continue;
    replicas.push_back(&replica);
    loads.push_back({.address = replica.address, .calls = *replica.calls});
  }
  if (replicas.empty()) return {};
  const Replica& chosen = *replicas[ChooseReplica(key, loads, calls_at_ease_)];
  return {.channel = chosen.channel, .counted = CountOne(chosen.calls)};
}

}  // namespace diptych
