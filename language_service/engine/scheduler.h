// Decides what the next pass of the decoder works on: no tensor, no thread, no clock of its own.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "common/requests/question_limits.h"
#include "common/stage_clock.h"
#include "language_service/engine/kv_block_key.h"
#include "language_service/engine/kv_block_pool.h"

namespace diptych::language {

struct SchedulerOptions {
  int32_t blocks = 0;                // of the KV cache
  int64_t block_tokens = 16;         // tokens that one block holds
  int64_t query_tokens = 32;         // Q
  int64_t max_batch = 32;            // sequences that run at a time; each beam is one
  int64_t max_batched_tokens = 256;  // of one pass; at least max_batch and kMaxBeams
};

struct ScheduledRequest {
  uint64_t id = 0;                           // rises with each request: the order of arrival
  std::vector<int64_t> prompt = {};          // token ids, not empty; those that were begun are the last
  std::vector<std::string> image_keys = {};  // of the images at its front
  std::string cache_salt = {};               // its KV blocks are shared with requests of the same one only
  int64_t max_new_tokens = 1;
  int beams = 1;
  bool scores_prompt = false;  // the logits of all its places are wanted, so none is taken from the cache
  SteadyTime deadline = SteadyTime::max();
};

// One row of a pass: `tokens` tokens of a sequence behind the `past` ones whose keys and values lie in `blocks`.
struct PlannedRow {
  uint64_t id = 0;
  int beam = 0;
  int64_t past = 0;
  int64_t tokens = 0;
  bool wants_logits = false;             // the row ends with the sequence's last token
  bool scores = false;                   // logits of all its tokens are wanted
  std::span<const int32_t> blocks = {};  // enough for past + tokens; valid until the scheduler is changed
};

// The most tokens of one pass whose logits are wanted though another follows in the prompt: a row of logits is as wide
// as the vocabulary.
inline constexpr int64_t kMaxScoredTokens = 256;

struct BlockCopy {
  int32_t from = 0;
  int32_t to = 0;
};

struct StepPlan {
  std::vector<PlannedRow> rows = {};    // those of one request stand together
  std::vector<BlockCopy> copies = {};   // to be done before the pass
  std::vector<uint64_t> too_late = {};  // not started: their deadline comes before their first token can
};

// Decisions so far, and blocks held now.
struct SchedulerCounts {
  int64_t waiting = 0;  // requests, those that are paused included
  int64_t running = 0;  // requests
  int64_t blocks_total = 0, blocks_held = 0, blocks_cached = 0;
  int64_t preemptions = 0;
  int64_t prefix_queries = 0;  // prompt tokens that were looked up
  int64_t prefix_hits = 0;     // of these, found
};

// Requests run in the order of their arrival, as many at once as max_batch and the blocks allow. A pass holds one token
// of each sequence that decodes, and chunks of prompts as far as max_batched_tokens reach. Prompt blocks that are
// computed can be found by later requests; of two requests that need the same block at once, one waits for the other.
// When blocks run out the youngest sequence gives its own up and is computed again later; beams never do, since they
// reserve what they may need. Thread-compatible; confined to the engine thread.
class Scheduler {
 public:
  explicit Scheduler(const SchedulerOptions& options);

  // RESOURCE_EXHAUSTED with KV_FULL if the request could not run even alone.
  absl::Status Add(ScheduledRequest request);

  StepPlan Plan(SteadyTime now);

  // The request's rows of the last plan were run, or what runs them has begun and will be through before what runs the
  // next plan's.
  void Computed(uint64_t id);
  // A token follows that will be known later, by Append: it can be planned from now on, unless it is the last one.
  void Expect(uint64_t id);
  // Its logits were sound, and this token follows. Its full blocks may be found by others from now on.
  void Append(uint64_t id, int64_t token);
  // As Append for beams: beam i continues what beam parents[i] was. At most `beams` parents.
  void Fork(uint64_t id, std::span<const int> parents);
  // Ended for whatever reason; everything it held is free. Unpublished blocks stay so.
  void Remove(uint64_t id);

  // Gives up place and blocks until Resume. Requires: one beam. Idempotent.
  void Pause(uint64_t id);
  void Resume(uint64_t id);

  // A pass of so many tokens took this long. Estimates rest on the best pace seen so far.
  void ObservePass(int64_t tokens, SteadyDuration duration);

  // Prompt tokens that were found when the request was first started.
  int64_t cached_tokens(uint64_t id) const { return entries_.at(id).cached_tokens; }
  SchedulerCounts counts() const;

 private:
  enum class State { kWaiting, kRunning, kPaused };
  struct Entry {
    ScheduledRequest request;
    KvBlockChain chain;  // of prompt and, without beams, generated tokens
    State state = State::kWaiting;
    int64_t length = 0;     // tokens of one sequence
    int64_t expected = 0;   // of these, not known yet
    int64_t computed = 0;   // of these, with keys and values in blocks
    int64_t planned = 0;    // tokens of the last plan
    int64_t published = 0;  // blocks
    int64_t cached_tokens = 0;
    int64_t reserved = 0;                           // blocks that it may still take
    bool started = false;                           // before, if it waits now
    std::vector<std::vector<int32_t>> tables = {};  // blocks of each beam
  };
  struct Prefix {
    std::vector<int32_t> blocks = {};
    bool pending = false;  // another request computes the block that comes next
  };

  // The room left in a pass.
  struct Budget {
    int64_t tokens = 0;
    int64_t scored = kMaxScoredTokens;
  };

  void PlanDecodes(StepPlan& plan, Budget& budget);
  void PlanPrefills(StepPlan& plan, Budget& budget);
  void Admit(SteadyTime now, StepPlan& plan, Budget& budget);
  void AddRows(Entry& entry, int64_t tokens, StepPlan& plan, Budget& budget);
  // Its tokens that are not computed yet, as far as `budget` reaches.
  static int64_t NextChunk(const Entry& entry, const Budget& budget);
  // Its prompt was not scored to its end yet.
  static bool Scores(const Entry& entry);
  // It expects the last token that it may have.
  static bool IsWhole(const Entry& entry);

  Prefix FindPrefix(const Entry& entry) const;
  bool TooLate(const Entry& entry, const Prefix& prefix, SteadyTime now) const;
  bool Fits(const Entry& entry, const Prefix& prefix) const;
  void Start(Entry& entry, Prefix prefix);
  void Stop(Entry& entry, State state);

  // Makes the block of the next token writable for each beam, at others' cost if need be; false if `entry` itself was
  // preempted.
  bool PrepareDecode(Entry& entry, StepPlan& plan);
  bool MakeRoomFor(Entry& entry);
  int32_t Take(Entry& entry);
  void ReleaseTables(Entry& entry);
  // Lets others find its blocks that are full and computed.
  void Publish(Entry& entry);

  int64_t BlocksFor(int64_t tokens) const { return (tokens + options_.block_tokens - 1) / options_.block_tokens; }
  // The most that it may hold from now on, without the `prefix_blocks` that were found.
  int64_t MostBlocks(const Entry& entry, int64_t prefix_blocks) const;
  // Blocks neither held nor reserved.
  int64_t unclaimed() const { return pool_.available() - reserved_; }

  const SchedulerOptions options_;
  KvBlockPool pool_;
  std::map<uint64_t, Entry> entries_;
  std::unordered_map<KvBlockKey, uint64_t, KvBlockKeyHash> pending_;  // who computes it
  int64_t running_sequences_ = 0;
  int64_t reserved_ = 0;  // by all entries
  std::optional<SteadyDuration> fastest_token_;
  SchedulerCounts counts_;
};

}  // namespace diptych::language
