#include "cli/pull/hub_listing.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "cli/connection/errors.h"
#include "common/models/hub_cache.h"
#include "common/models/hub_name.h"
#include "common/models/model_family.h"
#include "common/status.h"
#include "common/text/json_input.h"

namespace diptych::cli {
namespace {

using nlohmann::json;

constexpr size_t kMostListedFiles = 100'000, kLongestName = 1024, kShownName = 100;

absl::Status NotAListing(const std::string& why) {
  return absl::InvalidArgumentError(absl::StrCat("the hub's description of the revision is not usable: ", why));
}

// True if no part of the name leads elsewhere and all of it can be shown.
bool IsRelative(std::string_view name) {
  if (name.empty() || name.size() > kLongestName || name.front() == '/' || name.find('\\') != name.npos) return false;
  if (std::any_of(name.begin(), name.end(), [](unsigned char c) { return absl::ascii_iscntrl(c) != 0; })) return false;
  for (size_t begin = 0; begin <= name.size();) {
    const size_t end = std::min(name.find('/', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (part.empty() || part == "." || part == "..") return false;
    begin = end + 1;
  }
  return true;
}

bool IsOutermost(std::string_view name) {
  return name.find('/') == name.npos && name.front() != '.' && name.front() != '-';
}

const std::string* TextAt(const json& object, const char* name) {
  const auto field = object.find(name);
  return field == object.end() ? nullptr : field->get_ptr<const std::string*>();
}

// Weights that another program has rounded are not read, only those of `diptych quantize`.
absl::Status CheckQuantization(const json& config) {
  const auto quantization = config.find("quantization_config");
  if (quantization == config.end() || !quantization->is_object()) return absl::OkStatus();
  const std::string* method = TextAt(*quantization, "quant_method");
  if (method != nullptr && *method == kRoundedMethod) return absl::OkStatus();
  const bool can_be_shown = method != nullptr && std::all_of(method->begin(), method->end(), absl::ascii_isalnum);
  return WithRemedy(MakeError(absl::StatusCode::kInvalidArgument, "MODEL_FAMILY",
                              absl::StrCat("its weights are rounded as ", can_be_shown ? *method : "another program",
                                           " does it, which is not read here")),
                    "Name the checkpoint that it was made from; diptych serve rounds that by itself, to int8 unless "
                    "--dtype says otherwise.");
}

}  // namespace

absl::StatusOr<HubListing> ReadListing(std::string_view body) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(body, "the hub's description of the revision"));
  const std::string* commit = TextAt(object, "sha");
  if (commit == nullptr || !IsCommit(*commit)) return NotAListing("it names no commit");
  const auto siblings = object.find("siblings");
  if (siblings == object.end() || !siblings->is_array() || siblings->size() > kMostListedFiles) {
    return NotAListing("it lists no files");
  }
  HubListing listing{.commit = *commit, .files = {}};
  for (const json& sibling : *siblings) {
    const std::string* name = sibling.is_object() ? TextAt(sibling, "rfilename") : nullptr;
    if (name == nullptr) return NotAListing("a file has no name");
    if (!IsRelative(*name)) return NotAListing("the name of a file leads out of its folder");
    listing.files.push_back(*name);
  }
  std::sort(listing.files.begin(), listing.files.end());
  listing.files.erase(std::unique(listing.files.begin(), listing.files.end()), listing.files.end());
  return listing;
}

absl::StatusOr<std::vector<std::string>> ReadShards(std::string_view index, const HubListing& listing) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(index, kWeightsIndex));
  const auto map = object.find("weight_map");
  if (map == object.end() || !map->is_object()) return NotAListing("its index of weights maps nothing");
  std::set<std::string> shards;
  for (const auto& [tensor, value] : map->items()) {
    const std::string* shard = value.get_ptr<const std::string*>();
    if (shard == nullptr || !shard->ends_with(".safetensors") || !IsOutermost(*shard) || !Holds(listing, *shard)) {
      return NotAListing(absl::StrCat("its index names weights that it does not have",
                                      shard == nullptr ? "" : absl::StrCat(" (", shard->substr(0, kShownName), ")")));
    }
    shards.insert(*shard);
  }
  if (shards.empty()) return NotAListing("its index of weights maps nothing");
  return std::vector<std::string>(shards.begin(), shards.end());
}

std::vector<std::string> SmallFilesOf(const HubListing& listing) {
  std::vector<std::string> files;
  for (const std::string& name : listing.files) {
    if (IsOutermost(name) && (name.ends_with(".json") || name == "merges.txt")) files.push_back(name);
  }
  return files;
}

absl::Status CheckServable(const HubListing& listing) {
  const auto lacks = [](const std::string& what, const std::string& remedy) {
    return WithRemedy(MakeError(absl::StatusCode::kFailedPrecondition, "MODEL_FILES", what), remedy);
  };
  if (!Holds(listing, kConfigFile)) {
    return lacks("this revision has no config.json, so it is not a checkpoint of transformers",
                 "Name a BLIP-2 checkpoint, for example Salesforce/blip2-opt-2.7b.");
  }
  if (Holds(listing, kWeightsFile) || Holds(listing, kWeightsIndex)) {
    for (const auto& [file, other] : kNeededFiles) {
      if (Holds(listing, file) || Holds(listing, other)) continue;
      return lacks(absl::StrCat("this revision has no ", file, " and no ", other),
                   "Name one that does, with @REVISION, or another BLIP-2 checkpoint.");
    }
    return absl::OkStatus();
  }
  const bool pickled = std::any_of(listing.files.begin(), listing.files.end(), [](const std::string& name) {
    return IsOutermost(name) && (name.ends_with(".bin") || name.ends_with(".pt") || name.ends_with(".pth"));
  });
  if (!pickled) return lacks("this revision holds no model.safetensors", "Name a revision that does, with @REVISION.");
  return lacks(
      "this revision has its weights only as a pickle (pytorch_model.bin), which is never read because reading it runs "
      "code",
      "Name a revision with model.safetensors, with @REVISION, or convert it with transformers' save_pretrained.");
}

bool Holds(const HubListing& listing, std::string_view file) {
  return std::find(listing.files.begin(), listing.files.end(), file) != listing.files.end();
}

absl::Status CheckServedFamily(std::string_view config) {
  DIPTYCH_ASSIGN_OR_RETURN(const json object, ParseJsonObject(config, kConfigFile));
  const std::string *model = TextAt(object, "model_type"), *text = nullptr;
  if (const auto nested = object.find("text_config"); nested != object.end() && nested->is_object()) {
    text = TextAt(*nested, "model_type");
  }
  const absl::Status family = CheckFamily(model == nullptr ? "" : *model, text == nullptr ? "" : *text);
  if (family.ok()) return CheckQuantization(object);
  return MakeError(absl::StatusCode::kInvalidArgument, "MODEL_FAMILY", std::string(family.message()));
}

}  // namespace diptych::cli
