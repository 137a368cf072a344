// Small BLIP-2 checkpoints with random weights, for tests of what reads them.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "blip2/checkpoint/checkpoint.h"
#include "blip2/checkpoint/config.h"

namespace diptych::testing {

// A configuration small enough for a double-precision model in a test; every width differs.
blip2::Config TinyConfig();

// A checkpoint folder of float32 weights that exists as long as this object.
class RandomCheckpoint {
 public:
  RandomCheckpoint(const blip2::Config& config, uint64_t seed);
  ~RandomCheckpoint();
  RandomCheckpoint(const RandomCheckpoint&) = delete;
  RandomCheckpoint& operator=(const RandomCheckpoint&) = delete;

  const std::filesystem::path& folder() const { return folder_; }
  const blip2::Config& config() const { return config_; }
  const std::map<std::string, at::Tensor>& weights() const { return weights_; }

  // Aborts the test program if the folder is refused.
  std::unique_ptr<blip2::Checkpoint> Open() const;

 private:
  const blip2::Config config_;
  std::filesystem::path folder_;
  std::map<std::string, at::Tensor> weights_;
};

}  // namespace diptych::testing
