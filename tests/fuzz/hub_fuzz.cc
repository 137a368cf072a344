// Any text as what the hub says about a revision, as its index of weights and as a model's name. What is accepted must
// not lead out of a folder.
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "cli/pull/hub_listing.h"
#include "common/models/hub_name.h"
#include "tests/fuzz/checks.h"
#include "tests/fuzz/target.h"

namespace diptych::fuzz::hub {
namespace {

bool StaysInside(const std::string& path) {
  const std::filesystem::path whole = (std::filesystem::path("/folder") / path).lexically_normal();
  return whole.string().starts_with("/folder/");
}

}  // namespace

DIPTYCH_FUZZ_TARGET(hub) {
  using namespace diptych::cli;  // NOLINT
  const std::string_view input = diptych::fuzz::TextOf(data, size);
  if (const auto name = diptych::ParseHubName(input)) {
    Require(StaysInside(name->repository) && StaysInside(name->revision));
  }
  (void)CheckServedFamily(input);
  const auto listing = ReadListing(input);
  if (listing.ok()) {
    Require(diptych::IsCommit(listing->commit));
    for (const std::string& file : listing->files) Require(StaysInside(file));
    for (const std::string& file : SmallFilesOf(*listing)) Require(file.find('/') == file.npos);
    (void)CheckServable(*listing);
  }
  const HubListing has{.commit = std::string(40, 'a'), .files = {"../evil.safetensors", "model-1.safetensors"}};
  if (const auto shards = ReadShards(input, has); shards.ok()) {
    for (const std::string& shard : *shards) Require(shard == "model-1.safetensors");
  }
  return 0;
}

}  // namespace diptych::fuzz::hub
