// Which files of a revision are pulled.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace diptych::cli {

struct HubListing {
  std::string commit;
  std::vector<std::string> files;  // as the hub names them, with folders
};

inline constexpr char kConfigFile[] = "config.json";
inline constexpr char kWeightsFile[] = "model.safetensors";
inline constexpr char kWeightsIndex[] = "model.safetensors.index.json";

// Reads what the hub says about a revision. INVALID_ARGUMENT for what is no such description, and for a name that leads
// out of a folder or holds other characters than a file's name may.
absl::StatusOr<HubListing> ReadListing(std::string_view body);

// Reads the shards that an index names. INVALID_ARGUMENT for a name that is not one of the listing's files.
absl::StatusOr<std::vector<std::string>> ReadShards(std::string_view index, const HubListing& listing);

// The files that serving needs besides the weights: *.json and merges.txt of the outermost folder.
std::vector<std::string> SmallFilesOf(const HubListing& listing);

// FAILED_PRECONDITION, with a remedy, if there is no configuration, no vocabulary, or no weights but those that are
// pickled, which are never pulled because reading them runs code.
absl::Status CheckServable(const HubListing& listing);

bool Holds(const HubListing& listing, std::string_view file);

// OK if a config.json is of the family that is served, by model_type and text_config.model_type, with weights that are
// not rounded by another program.
absl::Status CheckServedFamily(std::string_view config);

}  // namespace diptych::cli
