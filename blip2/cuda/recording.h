// Recording that is given up when it has failed once.
#pragma once

#include <functional>
#include <string>

#include "blip2/cuda/step_recorder.h"

namespace diptych::blip2 {

// Confined to one thread.
class Recording {
 public:
  // Told once, in one line, why nothing is recorded any more.
  using OnFailure = std::function<void(const std::string& why)>;

  explicit Recording(RecordStep record, OnFailure on_failure = nullptr);

  // Requires: goes_on().
  std::function<void()> Record(const std::function<void()>& work) { return record_(work); }
  // False once a Try has failed.
  bool goes_on() const { return record_ != nullptr; }
  // Does `work`, which records, or does again what was recorded. False if it throws.
  bool Try(const std::function<void()>& work);

 private:
  RecordStep record_;
  OnFailure on_failure_;
};

}  // namespace diptych::blip2
