#include "blip2/tokenizer/bpe.h"

#include <functional>
#include <numeric>
#include <queue>
#include <tuple>

namespace diptych::blip2 {
namespace {

constexpr int32_t kMergedAway = -1;

struct Candidate {
  int32_t rank = 0;
  uint32_t left = 0;  // index of the pair's first token
  int32_t result = 0;

  bool operator>(const Candidate& other) const { return std::tie(rank, left) > std::tie(other.rank, other.left); }
};

}  // namespace

bool MergeTable::Add(int32_t left, int32_t right, int32_t rank, int32_t result) {
  return merges_.try_emplace(Key(left, right), Merge{rank, result}).second;
}

void MergeTable::Apply(std::vector<int32_t>& tokens) const {
  const uint32_t end = static_cast<uint32_t>(tokens.size());
  if (end < 2) return;
  // A doubly linked list over the tokens that are still there.
  std::vector<uint32_t> next(end), previous(end);
  std::iota(next.begin(), next.end(), 1u);
  std::iota(previous.begin() + 1, previous.end(), 0u);
  previous[0] = end;

  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto find = [&](uint32_t left) { return merges_.find(Key(tokens[left], tokens[next[left]])); };
  const auto propose = [&](uint32_t left) {
    if (left == end || next[left] == end) return;
    if (const auto merge = find(left); merge != merges_.end()) {
      candidates.push({merge->second.rank, left, merge->second.result});
    }
  };
  for (uint32_t left = 0; left + 1 < end; ++left) propose(left);

  while (!candidates.empty()) {
    const Candidate candidate = candidates.top();
    candidates.pop();
    const uint32_t left = candidate.left;
    if (tokens[left] == kMergedAway || next[left] == end) continue;
    const auto merge = find(left);
    if (merge == merges_.end() || merge->second.rank != candidate.rank) continue;  // a neighbour has changed
    const uint32_t right = next[left];
    tokens[left] = candidate.result;
    tokens[right] = kMergedAway;
    next[left] = next[right];
    if (next[left] != end) previous[next[left]] = left;
    propose(previous[left]);
    propose(left);
  }
  std::erase(tokens, kMergedAway);
}

}  // namespace diptych::blip2
