// How many of each name there are.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/mutex.h"

namespace diptych {

// Thread-safe.
class NamedCounts {
 public:
  struct Counted {
    int count = 0;              // of its name, itself included
    std::shared_ptr<void> one;  // counts until it is released; may outlive the object
  };

  // One more.
  Counted Add(const std::string& name);

 private:
  struct State {
    Mutex mutex;
    std::map<std::string, int> counts ABSL_GUARDED_BY(mutex);  // more than 0
  };

  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace diptych
