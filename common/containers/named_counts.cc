#include "common/containers/named_counts.h"

namespace diptych {

NamedCounts::Counted NamedCounts::Add(const std::string& name) {
  Counted counted;
  {
    MutexLock lock(state_->mutex);
    counted.count = ++state_->counts[name];
  }
  counted.one = std::shared_ptr<void>(nullptr, [state = state_, name](void*) {
    MutexLock lock(state->mutex);
    if (const auto own = state->counts.find(name); --own->second == 0) state->counts.erase(own);
  });
  return counted;
}

}  // namespace diptych
