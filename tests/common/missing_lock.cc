// scripts/lint.sh compiles this with Clang: it must be accepted, and refused with -DMISSING_LOCK.
#include "common/mutex.h"

namespace diptych {

class Account {
 public:
  void Add(int amount) {
#ifndef MISSING_LOCK
    MutexLock lock(mutex_);
#endif
    balance_ += amount;
  }

 private:
  Mutex mutex_;
  int balance_ ABSL_GUARDED_BY(mutex_) = 0;
};

void Use() {
  Account().Add(1);
}

}  // namespace diptych
