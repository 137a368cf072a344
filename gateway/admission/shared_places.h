// One place in the gate for all questions of one request, which come as calls of their own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/mutex.h"
#include "gateway/admission/fair_gate.h"

namespace diptych::gateway {

// A place that several questions may hold: it is free when the last of them has released it.
using HeldPlace = std::shared_ptr<FairGate::Place>;
using HeldPlaceEntered = std::function<void(absl::StatusOr<HeldPlace>)>;

// Keeps the place until all of its questions have come; destroy it when no more will. After so many questions it is
// the next caller's turn: a request of hundreds would else be in everybody's way until its end. Thread-safe.
class SharedPlace {
 public:
  static constexpr int kQuestionsOfATurn = 8;

  SharedPlace(std::string name, int questions) : name_(std::move(name)), to_come_(questions) {}

  const std::string& name() const { return name_; }

  // What the question that joins has to do. Whoever asks the gate calls OnEntered with what it got; for the others
  // `entered` is called once, with that, before Join returns or later.
  struct Task {
    enum { kNothing, kEnter, kTakeTurn } kind = kNothing;
    HeldPlace place = nullptr;  // to take a turn with
  };
  Task Join(const HeldPlaceEntered& entered);
  void OnEntered(const absl::StatusOr<HeldPlace>& place);

 private:
  const std::string name_;
  Mutex mutex_;
  int to_come_ ABSL_GUARDED_BY(mutex_);
  bool asked_ ABSL_GUARDED_BY(mutex_) = false;
  int of_turn_ ABSL_GUARDED_BY(mutex_) = 0;  // questions that have come in this turn
  std::vector<HeldPlaceEntered> waiting_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::StatusOr<HeldPlace>> place_ ABSL_GUARDED_BY(mutex_);  // what the gate said, while any are to come
};

// Those that are in use, by names that nobody can guess: a call says which is its own. Thread-safe.
class SharedPlaces {
 public:
  // For a request of so many questions.
  std::shared_ptr<SharedPlace> Open(int questions);
  // nullptr if there is none of this name.
  std::shared_ptr<SharedPlace> Find(const std::string& name);

 private:
  Mutex mutex_;
  std::map<std::string, std::weak_ptr<SharedPlace>> places_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace diptych::gateway
