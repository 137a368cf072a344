#include "common/replicas/replica_affinity.h"

#include <algorithm>
#include <numeric>

#include "common/hash.h"

namespace diptych {
namespace {

// Spreads the bits of a number over all of it: the last step of D. Lea's and G. Steele's SplitMix64.
uint64_t Mix(uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

}  // namespace

bool AbslParseFlag(absl::string_view text, Affinity* affinity, std::string* error) {
  *affinity = text == "image" ? Affinity::kImage : Affinity::kNone;
  if (text == "image" || text == "none") return true;
  *error = "takes image or none";
  return false;
}

std::string AbslUnparseFlag(Affinity affinity) {
  return affinity == Affinity::kImage ? "image" : "none";
}

AffinityKey AffinityKeyOf(std::initializer_list<std::string_view> parts) {
  Sha256 hash;
  for (const std::string_view part : parts) hash.UpdateField(part);
  const Sha256Digest digest = hash.Finish();
  return std::accumulate(digest.begin(), digest.begin() + sizeof(AffinityKey), AffinityKey{0},
                         [](AffinityKey key, uint8_t byte) { return (key << 8) | byte; });
}

int MostCalls(int calls, int replicas) {
  return std::max((calls + replicas - 1) / replicas, 5 * calls / (4 * replicas));
}

size_t ChooseReplica(AffinityKey key, std::span<const ReplicaLoad> replicas, int calls_at_ease) {
  const int calls = std::accumulate(replicas.begin(), replicas.end(), 1,
                                    [](int sum, const ReplicaLoad& replica) { return sum + replica.calls; });
  const int most = std::max(calls_at_ease, MostCalls(calls, static_cast<int>(replicas.size())));
  size_t best = 0;
  uint64_t best_score = 0;
  for (size_t i = 0; i < replicas.size(); ++i) {
    const uint64_t score = Mix(key ^ replicas[i].address);
    if (replicas[i].calls >= most || score < best_score) continue;
    best = i;
    best_score = score;
  }
  return best;
}

}  // namespace diptych
