// A model from the hub into Hugging Face's cache.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/models/hub_name.h"

namespace diptych::cli {

struct PullOptions {
  int connections = 8;
  bool json = false;  // progress as JSON
  // Gets one line for each event that a user should see.
  std::function<void(const std::string&)> say = [](const std::string&) {};
  // Asked often: true ends what goes on.
  std::function<bool()> stopped = [] { return false; };
};

struct Pulled {
  std::string folder;  // the snapshot
  std::string commit;
  int64_t fetched_bytes = 0;  // 0: all was there
  absl::Duration time = absl::ZeroDuration();
};

// "pulled 5.5 GB in 61 s (90 MB/s), each file checked"
std::string PulledText(const Pulled& pulled);

// Fetches what serving the model needs and the cache lacks: *.json, merges.txt and the weights as safetensors. The
// snapshot appears when all of it is there and checked. Refuses other families than the served one before it fetches
// their weights. An error is one line with a remedy; CANCELLED if `stopped` says so; what was fetched until then stays
// for the next time, where no snapshot shows it.
absl::StatusOr<Pulled> Pull(const HubName& name, const PullOptions& options);

// The folder of the checkpoint `model`: what FindModelFolder finds, else what Pull fetches. Offline, and for what is no
// name on the hub, the error of FindModelFolder.
absl::StatusOr<std::string> FindOrPull(const std::string& model, const PullOptions& options);

}  // namespace diptych::cli
