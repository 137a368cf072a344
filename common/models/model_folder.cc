#include "common/models/model_folder.h"

#include <filesystem>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/models/hub_cache.h"
#include "common/models/hub_name.h"
#include "common/status.h"
#include "common/text/nearest_word.h"

namespace diptych {
namespace {

namespace fs = std::filesystem;

// What most people mean by BLIP-2 with OPT. Names of the cache come before them.
constexpr const char* kServedModels[] = {"Salesforce/blip2-opt-2.7b", "Salesforce/blip2-opt-6.7b",
                                         "Salesforce/blip2-opt-2.7b-coco", "Salesforce/blip2-opt-6.7b-coco"};

std::string LastPart(const std::string& name) {
  return name.substr(name.rfind('/') + 1);
}

std::string Whole(const fs::path& path) {
  std::error_code error;
  fs::path whole = fs::absolute(path, error).lexically_normal();
  return (whole.has_filename() ? whole : whole.parent_path()).string();
}

bool IsCheckpoint(const fs::path& folder) {
  std::error_code error;
  return fs::exists(folder / "config.json", error);
}

// Names of the folders in `folder`.
std::vector<std::string> FoldersIn(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error, not_there;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    if (entry->is_directory(not_there)) names.push_back(entry->path().filename());
  }
  return names;
}

std::vector<std::string> CheckpointsIn(const fs::path& folder) {
  std::vector<std::string> names = FoldersIn(folder);
  std::erase_if(names, [&](const std::string& name) { return !IsCheckpoint(folder / name); });
  return names;
}

std::string DidYouMean(const std::string& nearest) {
  return nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?");
}

// Says early what loading could only say in the words of a file, and what to do.
absl::Status CheckFolder(const std::string& model) {
  const absl::Status complete = CheckComplete(model);
  const fs::path folder = Whole(model);
  const std::string repository = RepositoryOfSnapshot(folder);
  if (!complete.ok() && !repository.empty()) {
    return absl::NotFoundError(absl::StrCat(model, ": ", complete.message(), "; get it with: diptych pull ", repository,
                                            "@", folder.filename().string()));
  }
  if (absl::IsFailedPrecondition(complete)) return Annotate(complete, model);
  if (IsCheckpoint(folder)) return absl::OkStatus();
  const std::vector<std::string> inside = CheckpointsIn(folder);
  return absl::NotFoundError(
      absl::StrCat(model,
                   " holds no config.json; give the folder of a BLIP-2 checkpoint as Hugging Face lays it out: "
                   "config.json, *.safetensors, the tokenizer's files",
                   DidYouMean(inside.size() == 1 ? (fs::path(model) / inside.front()).string() : "")));
}

std::string NoFolder(const std::string& model) {
  return absl::StrCat("there is no folder ", Whole(model));
}

// What lists the folder that `path` is in.
fs::path ParentOf(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : ".";
}

// A checkpoint of that very name: of a bare name in any folder here, else in the one whose name is nearest.
std::string NearFolder(const fs::path& path) {
  const fs::path parent = path.parent_path();
  std::vector<std::string> folders = FoldersIn(ParentOf(parent));
  if (!parent.empty()) folders = {NearestWord(parent.filename().string(), folders)};
  for (const std::string& folder : folders) {
    const fs::path meant = parent.parent_path() / folder / path.filename();
    if (!folder.empty() && IsCheckpoint(meant)) return meant.string();
  }
  return "";
}

std::string NearestFolder(const std::string& model) {
  fs::path path = model;
  if (!path.has_filename()) path = path.parent_path();  // behind a slash
  const std::string nearest = NearestWord(path.filename().string(), CheckpointsIn(ParentOf(path)));
  return nearest.empty() ? NearFolder(path) : path.replace_filename(nearest).string();
}

// Of the hub's page of it, folders and the cache.
std::string NearestModel(const std::string& model) {
  if (const std::string name = NameInAddress(model); !name.empty()) return DidYouMean(name);
  const std::string folder = NearestFolder(model);
  return folder.empty() ? NearestCachedModel(model) : DidYouMean(folder);
}

}  // namespace

std::string MissingFolder(const std::string& model) {
  return absl::StrCat(NoFolder(model), DidYouMean(NearestFolder(model)));
}

std::string WhyMissing(const std::string& model, const HubName& name, const std::string& advice) {
  return absl::StrCat(model, ": ", NoFolder(model), ", and ", FindSnapshot(HubCache(), name).status().message(),
                      " (Hugging Face's cache, ", HubCache().string(), ")", advice, NearestModel(model));
}

std::string NearestCachedModel(const std::string& model) {
  std::vector<std::string> names = CachedModels(HubCache()), last_parts;
  for (const char* served : kServedModels) names.emplace_back(served);
  for (const std::string& name : names) last_parts.push_back(LastPart(name));
  const std::string typed = model.substr(0, model.find('@'));
  std::string nearest = NearestWord(typed, names);
  if (nearest.empty()) {
    const std::string last = NearestWord(LastPart(typed), last_parts);
    for (size_t i = 0; i < names.size() && !last.empty() && nearest.empty(); ++i) {
      if (last_parts[i] == last) nearest = names[i];
    }
  }
  return nearest == typed ? "" : DidYouMean(nearest);
}

absl::StatusOr<std::string> FindModelFolder(const std::string& model) {
  if (model.empty()) {
    return absl::NotFoundError("no model is named: give a folder, or ORG/NAME or ORG/NAME@REVISION");
  }
  std::error_code error;
  if (fs::is_directory(model, error)) {
    DIPTYCH_RETURN_IF_ERROR(CheckFolder(model));
    return model;
  }
  if (fs::exists(model, error)) {
    return absl::NotFoundError(absl::StrCat(
        model, " is a file; give the checkpoint's folder: ", Whole(fs::absolute(model, error).parent_path())));
  }
  const std::optional<HubName> name = ParseHubName(model);
  if (!name) {
    return absl::NotFoundError(absl::StrCat(
        model, ": ", NoFolder(model), ", and a model's name is ORG/NAME or ORG/NAME@REVISION", NearestModel(model)));
  }
  const absl::StatusOr<fs::path> snapshot = FindSnapshot(HubCache(), *name);
  if (snapshot.ok()) return snapshot->string();
  return absl::NotFoundError(WhyMissing(model, *name, absl::StrCat("; get it with: diptych pull ", name->Text())));
}

}  // namespace diptych
