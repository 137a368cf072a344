// Decides which of the waiting images go through the vision transformer together, and when.
#pragma once

#include <compare>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/stage_clock.h"

namespace diptych::vision {

// The properties that images of one pass share.
struct BatchShape {
  int image_size = 0;  // pixels
  int merging = 0;     // thousandths
  auto operator<=>(const BatchShape&) const = default;
};

// Pure: no thread, no tensor, no clock of its own. Callers take turns, image by image; whose turn it is decides which
// shape goes next, and others of its shape go with it, each caller's in the order in which they came. So none starves,
// one caller's many images delay another's by one turn, and no pass mixes shapes. Thread-compatible.
class Batcher {
 public:
  struct Options {
    int max_batch = 8;
    // Images larger than this go in smaller batches, so that a pass holds no more patches than `max_batch`
    // images of this size do.
    int image_size = 224;  // pixels
    // Longest wait for images that are being decoded. It is never more than an eighth of what a pass takes, and
    // nothing at all while none is being decoded.
    SteadyDuration max_delay = std::chrono::milliseconds(20);
  };

  struct Expired {
    uint64_t id;
    SteadyTime deadline;
  };
  struct Plan {
    std::vector<uint64_t> run;     // one pass, whose turn it is first
    std::vector<Expired> expired;  // can't be done before their deadlines
    // If nothing runs although images wait: when to ask again, unless something changes before.
    std::optional<SteadyTime> ask_again;
  };

  explicit Batcher(const Options& options) : options_(options) {}

  // An image of this shape is being decoded; Add or Unexpect follows.
  void Expect(BatchShape shape) { ++expected_[shape]; }
  void Unexpect(BatchShape shape);

  void Add(uint64_t id, BatchShape shape, std::string caller, SteadyTime deadline, SteadyTime now);
  // False if it isn't waiting.
  bool Remove(uint64_t id);
  // Moves the deadline of an image that waits.
  void SetDeadline(uint64_t id, SteadyTime deadline);

  // What Next would run now if it need not wait for more.
  std::vector<uint64_t> Upcoming() const;
  // The next action. The images named in the plan no longer wait. Without `may_delay`, whatever waits runs.
  Plan Next(SteadyTime now, bool may_delay = true);

  // A pass over this shape took that long.
  void Learn(BatchShape shape, SteadyDuration duration);

  size_t size() const { return waiting_.size(); }

 private:
  struct Image {
    uint64_t id;
    BatchShape shape;
    std::string caller;
    int64_t turn;
    SteadyTime deadline;
    SteadyTime since;
  };

  // Of the next image of `caller`: after those that it has waiting, and no earlier than one that arrives now.
  int64_t NextTurn(const std::string& caller) const;

  std::vector<Expired> Expire(SteadyTime now);
  size_t Limit(BatchShape shape) const;
  // The shortest pass seen; 0 if none was.
  SteadyDuration ShortestPass(BatchShape shape) const;

  const Options options_;
  std::list<Image> waiting_;  // by turn, then in order of arrival
  int64_t turn_ = 0;          // the latest that has run
  std::map<BatchShape, int> expected_;
  std::map<BatchShape, SteadyDuration> shortest_pass_;
};

}  // namespace diptych::vision
