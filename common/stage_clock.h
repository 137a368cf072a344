// Cuts the wall-clock time of one request into consecutive named segments.
#pragma once

#include <array>
#include <span>
#include <utility>

#include "common/stage.h"
#include "common/steady_clock.h"
#include "diptych/v1/inference.pb.h"

namespace diptych {

// Every segment ends where the next begins, so the stages are disjoint. Times that go backwards count
// as zero. Thread-compatible; moves with the request from thread to thread.
class StageClock {
 public:
  explicit StageClock(SteadyTime start) : start_(start), last_(start) {}

  // Adds the time since the last call (or the start) to `stage`.
  void Lap(Stage stage, SteadyTime now);

  // Splits the time since the last call: each part gets its own share, `rest` what is left. Parts that
  // claim more than the interval are cut off in order.
  void LapSplit(std::span<const std::pair<Stage, SteadyDuration>> parts, Stage rest, SteadyTime now);

  SteadyTime start() const { return start_; }
  SteadyDuration spent(Stage stage) const { return spent_[static_cast<size_t>(stage)]; }

  // All stages, `unattributed` (time since the last segment) and `total` (time since the start).
  v1::StageTimings ToProto(SteadyTime now) const;

 private:
  SteadyTime start_;
  SteadyTime last_;
  std::array<SteadyDuration, static_cast<size_t>(Stage::kCount)> spent_{};
};

// What `timings` says of a stage.
const google::protobuf::Duration& TimeOf(const v1::StageTimings& timings, Stage stage);

double ToSeconds(SteadyDuration duration);
google::protobuf::Duration ToProtoDuration(SteadyDuration duration);
SteadyDuration FromProtoDuration(const google::protobuf::Duration& duration);

}  // namespace diptych
