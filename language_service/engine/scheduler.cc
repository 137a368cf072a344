#include "language_service/engine/scheduler.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::language {

Scheduler::Scheduler(const SchedulerOptions& options) : options_(options), pool_(options.blocks) {
  counts_.blocks_total = options.blocks;
}

absl::Status Scheduler::Add(ScheduledRequest request) {
  KvBlockChain chain(options_.block_tokens, options_.query_tokens, request.image_keys, request.cache_salt);
  chain.Append(request.prompt);
  const auto length = static_cast<int64_t>(request.prompt.size());
  const uint64_t id = request.id;
  Entry entry{.request = std::move(request), .chain = std::move(chain), .length = length};
  const int64_t needed = std::max(MostBlocks(entry, 0), BlocksFor(length + entry.request.max_new_tokens));
  if (needed > pool_.total()) {
    return MakeError(absl::StatusCode::kResourceExhausted, reason::kKvFull,
                     absl::StrCat("the request needs keys and values for ", needed * options_.block_tokens,
                                  " tokens; this server has room for ", pool_.total() * options_.block_tokens));
  }
  entries_.emplace(id, std::move(entry));
  return absl::OkStatus();
}

StepPlan Scheduler::Plan(SteadyTime now) {
  StepPlan plan;
  for (auto& [id, entry] : entries_) entry.planned = 0;
  Budget budget{.tokens = options_.max_batched_tokens};
  PlanDecodes(plan, budget);
  PlanPrefills(plan, budget);
  Admit(now, plan, budget);
  return plan;
}

void Scheduler::PlanDecodes(StepPlan& plan, Budget& budget) {
  for (auto& [id, entry] : entries_) {
    if (entry.state != State::kRunning || entry.length - entry.computed != 1 || IsWhole(entry)) continue;
    if (PrepareDecode(entry, plan)) AddRows(entry, 1, plan, budget);
  }
}

void Scheduler::PlanPrefills(StepPlan& plan, Budget& budget) {
  for (auto& [id, entry] : entries_) {
    if (entry.state != State::kRunning || entry.length - entry.computed <= 1) continue;
    if (const int64_t tokens = NextChunk(entry, budget); tokens > 0) AddRows(entry, tokens, plan, budget);
  }
}

// Strictly in the order of arrival, but for requests that wait for another's prefix.
void Scheduler::Admit(SteadyTime now, StepPlan& plan, Budget& budget) {
  for (auto& [id, entry] : entries_) {
    if (entry.state != State::kWaiting || entry.expected > 0) continue;
    const bool full = running_sequences_ > 0 && running_sequences_ + entry.request.beams > options_.max_batch;
    if (NextChunk(entry, budget) <= 0 || full) return;
    Prefix prefix = FindPrefix(entry);
    if (TooLate(entry, prefix, now)) {
      plan.too_late.push_back(id);
      continue;
    }
    if (prefix.pending) continue;
    if (!Fits(entry, prefix)) return;
    Start(entry, std::move(prefix));
    AddRows(entry, NextChunk(entry, budget), plan, budget);
  }
}

bool Scheduler::Scores(const Entry& entry) {
  return entry.request.scores_prompt && entry.length == static_cast<int64_t>(entry.request.prompt.size());
}

bool Scheduler::IsWhole(const Entry& entry) {
  const auto most = static_cast<int64_t>(entry.request.prompt.size()) + entry.request.max_new_tokens;
  return entry.expected > 0 && entry.length >= most;
}

int64_t Scheduler::NextChunk(const Entry& entry, const Budget& budget) {
  const int64_t tokens = std::min(entry.length - entry.computed, budget.tokens);
  return Scores(entry) ? std::min(tokens, budget.scored) : tokens;
}

void Scheduler::AddRows(Entry& entry, int64_t tokens, StepPlan& plan, Budget& budget) {
  entry.planned = tokens;
  for (size_t beam = 0; beam < entry.tables.size(); ++beam) {
    plan.rows.push_back({.id = entry.request.id,
                         .beam = static_cast<int>(beam),
                         .past = entry.computed,
                         .tokens = tokens,
                         .wants_logits = entry.computed + tokens == entry.length,
                         .scores = Scores(entry),
                         .blocks = entry.tables[beam]});
    budget.tokens -= tokens;
    if (Scores(entry)) budget.scored -= tokens;
  }
}

Scheduler::Prefix Scheduler::FindPrefix(const Entry& entry) const {
  Prefix prefix;
  if (Scores(entry)) return prefix;
  // The last token is computed in any case: its logits are what the request is here for.
  const auto most = static_cast<size_t>((entry.length - 1) / options_.block_tokens);
  for (const KvBlockKey& key : entry.chain.keys().first(std::min(most, entry.chain.keys().size()))) {
    const std::optional<int32_t> block = pool_.Find(key);
    if (!block) {
      prefix.pending = pending_.contains(key);
      break;
    }
    prefix.blocks.push_back(*block);
  }
  return prefix;
}

bool Scheduler::TooLate(const Entry& entry, const Prefix& prefix, SteadyTime now) const {
  if (!fastest_token_ || entry.request.deadline == SteadyTime::max()) return false;
  const int64_t cached = static_cast<int64_t>(prefix.blocks.size()) * options_.block_tokens;
  return now + *fastest_token_ * (entry.length - cached) > entry.request.deadline;
}

// With running sequences it leaves them one block each, so that it is not the next to be preempted.
bool Scheduler::Fits(const Entry& entry, const Prefix& prefix) const {
  const auto found = static_cast<int64_t>(prefix.blocks.size());
  const auto cached = std::count_if(prefix.blocks.begin(), prefix.blocks.end(),
                                    [&](int32_t block) { return pool_.holders(block) == 0; });
  const int64_t needed = entry.request.beams > 1 ? MostBlocks(entry, found) : BlocksFor(entry.length) - found;
  return needed + cached + running_sequences_ <= unclaimed();
}

void Scheduler::Start(Entry& entry, Prefix prefix) {
  const auto found = static_cast<int64_t>(prefix.blocks.size());
  for (const int32_t block : prefix.blocks) pool_.Share(block);
  if (entry.request.beams > 1) {
    entry.reserved = MostBlocks(entry, found);
    reserved_ += entry.reserved;
  }
  entry.state = State::kRunning;
  entry.computed = found * options_.block_tokens;
  entry.published = found;
  entry.tables.push_back(std::move(prefix.blocks));
  while (static_cast<int64_t>(entry.tables[0].size()) < BlocksFor(entry.length)) entry.tables[0].push_back(Take(entry));
  for (const KvBlockKey& key : entry.chain.keys().subspan(found)) pending_.emplace(key, entry.request.id);
  running_sequences_ += entry.request.beams;
  if (entry.started) return;
  entry.started = true;
  entry.cached_tokens = entry.computed;
  counts_.prefix_queries += entry.length;
  counts_.prefix_hits += entry.computed;
}

void Scheduler::Stop(Entry& entry, State state) {
  if (entry.state == State::kRunning) {
    ReleaseTables(entry);
    running_sequences_ -= entry.request.beams;
    std::erase_if(pending_, [&](const auto& pending) { return pending.second == entry.request.id; });
  }
  entry.state = state;
  entry.computed = 0;
  entry.planned = 0;
}

void Scheduler::ReleaseTables(Entry& entry) {
  for (const std::vector<int32_t>& table : entry.tables) {
    // The end first: what is released first is lost first, and a block is useless without those before it.
    for (auto block = table.rbegin(); block != table.rend(); ++block) pool_.Release(*block);
  }
  entry.tables.clear();
  reserved_ -= entry.reserved;
  entry.reserved = 0;
}

bool Scheduler::PrepareDecode(Entry& entry, StepPlan& plan) {
  const auto index = static_cast<size_t>(entry.computed / options_.block_tokens);
  for (size_t beam = 0; beam < entry.tables.size(); ++beam) {
    const bool grows = index == entry.tables[beam].size();
    if (!grows && !pool_.shared(entry.tables[beam][index])) continue;
    if (!MakeRoomFor(entry)) return false;
    const int32_t block = Take(entry);
    if (grows) {
      entry.tables[beam].push_back(block);
      continue;
    }
    plan.copies.push_back({.from = entry.tables[beam][index], .to = block});
    pool_.Release(std::exchange(entry.tables[beam][index], block));
  }
  return true;
}

bool Scheduler::MakeRoomFor(Entry& entry) {
  while (entry.reserved == 0 && unclaimed() == 0) {
    const auto youngest = std::find_if(entries_.rbegin(), entries_.rend(), [](const auto& other) {
      return other.second.state == State::kRunning && other.second.request.beams == 1;
    });
    ++counts_.preemptions;
    Stop(youngest->second, State::kWaiting);
    if (&youngest->second == &entry) return false;
  }
  return true;
}

int32_t Scheduler::Take(Entry& entry) {
  if (entry.reserved > 0) {
    --entry.reserved;
    --reserved_;
  }
  return *pool_.Allocate();
}

int64_t Scheduler::MostBlocks(const Entry& entry, int64_t prefix_blocks) const {
  const auto prompt = static_cast<int64_t>(entry.request.prompt.size());
  const int64_t common = prompt / options_.block_tokens;  // full blocks of the prompt, which all beams share
  const int64_t own = BlocksFor(prompt + entry.request.max_new_tokens) - common;
  return common - prefix_blocks + entry.request.beams * own;
}

void Scheduler::Computed(uint64_t id) {
  Entry& entry = entries_.at(id);
  entry.computed += std::exchange(entry.planned, 0);
}

void Scheduler::Publish(Entry& entry) {
  const int64_t full =
      std::min(static_cast<int64_t>(entry.chain.keys().size()), entry.computed / options_.block_tokens);
  for (; entry.published < full; ++entry.published) {
    const KvBlockKey& key = entry.chain.keys()[entry.published];
    pool_.Publish(entry.tables[0][entry.published], key);
    pending_.erase(key);
  }
}

void Scheduler::Expect(uint64_t id) {
  Entry& entry = entries_.at(id);
  ++entry.expected;
  ++entry.length;
}

// Only blocks of known tokens have keys, so what is published has been computed, whatever has begun since.
void Scheduler::Append(uint64_t id, int64_t token) {
  Entry& entry = entries_.at(id);
  Publish(entry);
  entry.chain.Append(std::span(&token, 1));
  if (entry.expected > 0) {
    --entry.expected;
  } else {
    ++entry.length;
  }
}

void Scheduler::Fork(uint64_t id, std::span<const int> parents) {
  Entry& entry = entries_.at(id);
  Publish(entry);
  std::vector<std::vector<int32_t>> tables;
  for (const int parent : parents) {
    tables.push_back(entry.tables[parent]);
    for (const int32_t block : tables.back()) pool_.Share(block);
  }
  entry.tables.swap(tables);
  for (const std::vector<int32_t>& table : tables) {
    for (const int32_t block : table) {
      if (!pool_.Release(block)) continue;
      ++entry.reserved;
      ++reserved_;
    }
  }
  ++entry.length;
}

void Scheduler::Remove(uint64_t id) {
  const auto entry = entries_.find(id);
  Stop(entry->second, State::kWaiting);
  entries_.erase(entry);
}

void Scheduler::Pause(uint64_t id) {
  Stop(entries_.at(id), State::kPaused);
}

void Scheduler::Resume(uint64_t id) {
  Entry& entry = entries_.at(id);
  if (entry.state == State::kPaused) entry.state = State::kWaiting;
}

void Scheduler::ObservePass(int64_t tokens, SteadyDuration duration) {
  const SteadyDuration token = duration / std::max<int64_t>(tokens, 1);
  fastest_token_ = std::min(token, fastest_token_.value_or(token));
}

SchedulerCounts Scheduler::counts() const {
  SchedulerCounts counts = counts_;
  counts.running = std::count_if(entries_.begin(), entries_.end(),
                                 [](const auto& entry) { return entry.second.state == State::kRunning; });
  counts.waiting = static_cast<int64_t>(entries_.size()) - counts.running;
  counts.blocks_held = pool_.held();
  counts.blocks_cached = pool_.cached();
  return counts;
}

}  // namespace diptych::language
