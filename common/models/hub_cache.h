// Hugging Face's cache on this host, as its Python client lays it out:
//   CACHE/models--ORG--NAME/refs/REVISION            the commit that a branch or tag was at
//   CACHE/models--ORG--NAME/snapshots/COMMIT/FILE    links to blobs
//   CACHE/models--ORG--NAME/blobs/ETAG
// Nothing here writes or asks the hub.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/models/hub_name.h"

namespace diptych {

// The path that an environment variable names, read as Hugging Face's Python client reads it: ~ is the user's folder,
// $NAME and ${NAME} are variables. Nothing where it is empty or not set.
std::optional<std::filesystem::path> HubPath(const char* variable);
// Hugging Face's own folder: HF_HOME, or huggingface in XDG_CACHE_HOME or ~/.cache.
std::filesystem::path HubHome();
// The cache: HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else hub in HubHome(). Absolute.
std::filesystem::path HubCache();
// Whether HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE forbids to ask the hub.
bool HubIsOffline();

// CACHE/models--ORG--NAME
std::filesystem::path RepositoryFolder(const std::filesystem::path& cache, const std::string& repository);

// The snapshot of that revision, complete: CheckComplete passes. NOT_FOUND with what is missing.
absl::StatusOr<std::filesystem::path> FindSnapshot(const std::filesystem::path& cache, const HubName& name);

// A checkpoint has one file of each pair, besides its configuration and weights.
inline constexpr std::pair<const char*, const char*> kNeededFiles[] = {
    {"preprocessor_config.json", "processor_config.json"}, {"tokenizer.json", "vocab.json"}};

// OK if the folder has configuration, weights with all shards and vocabulary. NOT_FOUND names the first file that is
// missing, FAILED_PRECONDITION the first that is a link to nothing.
absl::Status CheckComplete(const std::filesystem::path& folder);

// "ORG/NAME" of each model that the cache holds any snapshot of, sorted.
std::vector<std::string> CachedModels(const std::filesystem::path& cache);

}  // namespace diptych
