// Says in the log how far a model is loaded.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/steady_clock.h"

namespace diptych {

// Confined to the thread that loads.
class LoadProgress {
 public:
  // `total`: bytes to read.
  explicit LoadProgress(int64_t total);
  // A line at most every two seconds, and none for what is loaded sooner.
  void Add(int64_t bytes);

 private:
  const int64_t total_;
  int64_t read_ = 0;
  SteadyTime next_line_;
};

// Says which dtype --dtype=auto is, and why.
void LogChosenDType(std::string_view dtype, std::string_view reason);

// Says which card the model is on, and how much of it this process may take.
void LogCard(std::string_view card, double memory_fraction);

// Says why decode steps on this card do not read keys and values where they lie.
void LogGatheredAttention(std::string_view reason);

// Says why passes are not recorded, or no longer.
void LogNoCudaGraphs(std::string_view reason);

// Says how much a tier takes at a time.
void LogCapacity(std::string_view capacity);

}  // namespace diptych
