// Which replica of a tier is asked, so that requests about the same thing meet the same caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace diptych {

// How requests choose a replica: kNone is round robin for all of them.
enum class Affinity { kNone, kImage };
// For absl flags: none, image.
bool AbslParseFlag(absl::string_view text, Affinity* affinity, std::string* error);
std::string AbslUnparseFlag(Affinity affinity);

// A hash of what requests share, or of a replica's address: the same number in every process.
using AffinityKey = uint64_t;
// From SHA-256 over the parts and their lengths.
AffinityKey AffinityKeyOf(std::initializer_list<std::string_view> parts);

struct ReplicaLoad {
  AffinityKey address = 0;
  int calls = 0;  // of this process, in flight
};

// The most calls in flight that one of so many replicas may have when there are `calls` on all: a quarter above the
// mean, but no fraction of a call above it. So no call queues for a cache while other replicas are idle.
int MostCalls(int calls, int replicas);

// Rendezvous hashing with bounded load: each key has an order of the replicas, in which the others keep their places
// when one comes or goes. Index of the first in that order that has room for one more call, so that what many ask about
// spreads: up to MostCalls, and up to `calls_at_ease`, which a replica answers at once about as fast as one. Pure.
// Requires: `replicas` is not empty, and addresses differ.
size_t ChooseReplica(AffinityKey key, std::span<const ReplicaLoad> replicas, int calls_at_ease);

}  // namespace diptych
