// A checkpoint with outlier channels, as trained models have them and random weights do not.
#pragma once

#include <filesystem>

namespace diptych::testing {

// A copy of a checkpoint folder whose layer norms have gains and biases of a few channels `gain` times as large and
// the next linear maps' weights there as much smaller; likewise the outputs of value projections and, where ReLU lets
// it pass, of fc1. In float32 it gives what the original gives. It exists as long as this object.
class PlantedCheckpoint {
 public:
  PlantedCheckpoint(const std::filesystem::path& original, double gain);
  ~PlantedCheckpoint();
  PlantedCheckpoint(const PlantedCheckpoint&) = delete;
  PlantedCheckpoint& operator=(const PlantedCheckpoint&) = delete;

  const std::filesystem::path& folder() const { return folder_; }

 private:
  std::filesystem::path folder_;
};

}  // namespace diptych::testing
