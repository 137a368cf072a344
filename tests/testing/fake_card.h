// A card of which only the recording is there.
#pragma once

#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "blip2/cuda/recording.h"

namespace diptych::testing {

// Does again what it was given, and can be told to fail. One thread at a time records and repeats.
struct FakeCard {
  std::atomic<int> recorded = 0;
  std::atomic<int> replayed = 0;
  bool refuses_to_record = false;
  bool refuses_to_replay = false;
  std::vector<std::string> failures = {};

  blip2::RecordStep Recorder() {
    return [this](const std::function<void()>& work) -> std::function<void()> {
      if (refuses_to_record) throw std::runtime_error("operation not permitted when stream is capturing\nand a trace");
      work();
      ++recorded;
      return [this, work] {
        if (refuses_to_replay) throw std::runtime_error("no such graph");
        work();
        ++replayed;
      };
    };
  }
  blip2::Recording::OnFailure OnFailure() {
    return [this](const std::string& why) { failures.push_back(why); };
  }
};

}  // namespace diptych::testing
