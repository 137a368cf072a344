// A question's way from its arrival to the tiers: whose it is, memory, checks, a place, its pictures.
#pragma once

#include <grpcpp/server_context.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/stage_clock.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/admission.h"
#include "gateway/callers.h"
#include "gateway/fair_gate.h"
#include "gateway/image_fetcher.h"

namespace diptych::gateway {

// What every way in leads through. Outlives all calls.
struct Gatehouse {
  const Callers* callers;
  Admission* admission;
  ImageFetcher* fetcher;                      // null: no picture is fetched
  std::function<std::string()> served_model;  // its name, empty while unknown
};

// Holds a call's memory and place until it is destroyed. Thread-compatible, but for Abandon.
class Entrance {
 public:
  Entrance(const Gatehouse& house, SteadyTime deadline) : house_(house), deadline_(deadline) {}

  // Tells whose call it is and sets memory aside for its message, which has not been read yet. Errors: those of
  // Callers::Identify and Admission::Reserve.
  absl::Status Reserve(const grpc::ServerContextBase& context, int64_t message_bytes);
  // Memory for so much more.
  absl::Status Grow(int64_t message_bytes) { return memory_.Grow(message_bytes); }

  // Once, before gRPC has the call's reactor. Checks the question, waits for a place, fetches what is given by address.
  // `entered` is called once, also before this returns, on whichever thread comes last, and gets the question with all
  // its pictures. Errors: those of Admission::Check, FairGate::Enter and ImageFetcher.
  void Enter(v1::Question question, std::function<void(absl::StatusOr<v1::Question>)> entered);

  // The caller left: ends a wait in Enter with CANCELLED. From any thread, at any time.
  void Abandon();

  // Counts tokens against the caller's limit.
  void Charge(int64_t tokens) { place_.Charge(tokens); }
  // Gives the place back. Idempotent.
  void Leave() { place_ = {}; }

 private:
  void OnPlace(absl::StatusOr<FairGate::Place> place);
  void Fetch(std::vector<int> by_address);
  void OnFetched(absl::StatusOr<std::vector<std::string>> pictures);
  // Puts them where their addresses are, and checks the whole again.
  absl::Status TakePictures(std::vector<std::string> pictures);
  void End(const absl::Status& status);

  const Gatehouse& house_;
  const SteadyTime deadline_;
  Caller caller_;
  Admission::Memory memory_;
  v1::Question question_;  // until it has entered
  std::function<void(absl::StatusOr<v1::Question>)> entered_;
  std::atomic<FairGate::Id> waiting_ = 0;
  // Of its own, because the call may end while Fetch still looks at it.
  struct Leaving {
    std::atomic<ImageFetcher::Id> fetch = 0;
    std::atomic<bool> abandoned = false;
  };
  const std::shared_ptr<Leaving> leaving_ = std::make_shared<Leaving>();
  FairGate::Place place_;
};

}  // namespace diptych::gateway
