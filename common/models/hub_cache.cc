#include "common/models/hub_cache.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "common/files.h"
#include "common/status.h"
#include "common/text/json_input.h"

namespace diptych {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLongestRef = 256;
constexpr int64_t kLargestIndex = 64 << 20;
constexpr char kWeights[] = "model.safetensors";
constexpr char kIndex[] = "model.safetensors.index.json";
// Files that a checkpoint may lack. As links to nothing they were once there, and answers without them would be others.
constexpr const char* kOptional[] = {"generation_config.json",
                                     "preprocessor_config.json",
                                     "processor_config.json",
                                     "tokenizer.json",
                                     "tokenizer_config.json",
                                     "added_tokens.json",
                                     "vocab.json",
                                     "merges.txt"};

std::optional<std::string> Variable(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

fs::path UserFolder() {
  if (const auto home = Variable("HOME")) return *home;
  const passwd* user = getpwuid(getuid());
  return user == nullptr ? "/" : user->pw_dir;
}

// Length of the NAME or {NAME} that it begins with; 0 without one.
size_t NameLength(std::string_view text) {
  if (text.starts_with('{')) return text.find('}') + 1;
  const auto in_name = [](unsigned char c) { return absl::ascii_isalnum(c) || c == '_'; };
  return std::find_if_not(text.begin(), text.end(), in_name) - text.begin();
}

const char* ValueOf(std::string_view name) {
  if (name.starts_with('{')) name = name.substr(1, name.size() - 2);
  return name.empty() ? nullptr : std::getenv(std::string(name).c_str());
}

// Replaces $NAME and ${NAME} by their values; those that are not set stay, as Python's expandvars has it.
std::string WithValues(const std::string& text) {
  const std::vector<std::string> pieces = absl::StrSplit(text, '$');
  std::string expanded = pieces.front();
  for (const std::string_view piece : std::span(pieces).subspan(1)) {
    const size_t length = NameLength(piece);
    const char* value = ValueOf(piece.substr(0, length));
    expanded.append(value == nullptr ? "$" : value).append(piece.substr(value == nullptr ? 0 : length));
  }
  return expanded;
}

// Replaces "~" and "~NAME" by folders of users; an unknown name stays.
fs::path FromUserFolder(const std::string& path) {
  if (!path.starts_with('~')) return path;
  const size_t end = std::min(path.find('/'), path.size());
  std::string folder = UserFolder();
  if (end > 1) {
    const passwd* user = getpwnam(path.substr(1, end - 1).c_str());
    if (user == nullptr) return path;
    folder = user->pw_dir;
  }
  return folder + path.substr(end);
}

bool IsTrue(const char* variable) {
  const std::string value = absl::AsciiStrToUpper(Variable(variable).value_or(""));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

absl::StatusOr<std::string> CommitOf(const fs::path& repository, const std::string& revision) {
  if (IsCommit(revision)) return revision;
  auto commit = ReadFile((repository / "refs" / revision).string(), kLongestRef);
  if (!commit.ok()) return absl::NotFoundError(absl::StrCat("the cache has no revision ", revision, " of it"));
  absl::StripAsciiWhitespace(&*commit);
  if (!IsCommit(*commit)) return absl::NotFoundError(absl::StrCat("refs/", revision, " of the cache names no commit"));
  return commit;
}

absl::Status LinkToNothing(const std::string& file) {
  return absl::FailedPreconditionError(absl::StrCat(file, " is a link to nothing"));
}

// NOT_FOUND if the folder has none of the files, FAILED_PRECONDITION if one is a link to nothing.
absl::Status Has(const fs::path& folder, const std::vector<std::string>& any_of) {
  std::error_code error;
  for (const std::string& file : any_of) {
    if (fs::is_regular_file(folder / file, error)) return absl::OkStatus();
    if (fs::is_symlink(folder / file, error)) return LinkToNothing(file);
  }
  return absl::NotFoundError(absl::StrCat(any_of.front(), " is missing"));
}

absl::Status CheckLinks(const fs::path& folder) {
  std::error_code error;
  for (const char* file : kOptional) {
    if (fs::is_symlink(folder / file, error) && !fs::exists(folder / file, error)) return LinkToNothing(file);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::set<std::string>> ShardsOf(const fs::path& folder) {
  DIPTYCH_ASSIGN_OR_RETURN(const std::string text, ReadFile((folder / kIndex).string(), kLargestIndex));
  DIPTYCH_ASSIGN_OR_RETURN(const nlohmann::json index, ParseJsonObject(text, kIndex));
  std::set<std::string> shards;
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) return shards;
  for (const auto& [tensor, shard] : map->items()) {
    if (shard.is_string()) shards.insert(shard.get<std::string>());
  }
  return shards;
}

absl::Status HasWeights(const fs::path& folder) {
  DIPTYCH_RETURN_IF_ERROR(Has(folder, {kWeights, kIndex}));
  std::error_code error;
  if (fs::exists(folder / kWeights, error)) return absl::OkStatus();
  const auto shards = ShardsOf(folder);
  if (!shards.ok()) return absl::OkStatus();  // loading says what is wrong with it
  for (const std::string& shard : *shards) DIPTYCH_RETURN_IF_ERROR(Has(folder, {shard}));
  return absl::OkStatus();
}

}  // namespace

std::optional<fs::path> HubPath(const char* variable) {
  const auto value = Variable(variable);
  if (!value) return std::nullopt;
  return WithValues(FromUserFolder(*value).string());
}

fs::path HubHome() {
  if (const auto home = HubPath("HF_HOME")) return *home;
  return HubPath("XDG_CACHE_HOME").value_or(UserFolder() / ".cache") / "huggingface";
}

fs::path HubCache() {
  std::error_code error;
  for (const char* variable : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"}) {
    if (const auto folder = HubPath(variable)) return fs::absolute(*folder, error);
  }
  return fs::absolute(HubHome() / "hub", error);
}

bool HubIsOffline() {
  return Variable("HF_HUB_OFFLINE") ? IsTrue("HF_HUB_OFFLINE") : IsTrue("TRANSFORMERS_OFFLINE");
}

fs::path RepositoryFolder(const fs::path& cache, const std::string& repository) {
  return cache / absl::StrCat("models--", absl::StrReplaceAll(repository, {{"/", "--"}}));
}

absl::StatusOr<fs::path> FindSnapshot(const fs::path& cache, const HubName& name) {
  const fs::path repository = RepositoryFolder(cache, name.repository);
  std::error_code error;
  if (!fs::is_directory(repository, error)) return absl::NotFoundError("the cache does not hold it");
  DIPTYCH_ASSIGN_OR_RETURN(const std::string commit, CommitOf(repository, name.revision));
  fs::path snapshot = repository / "snapshots" / commit;
  if (!fs::is_directory(snapshot, error)) {
    return absl::NotFoundError(absl::StrCat("the cache has no snapshot of commit ", commit));
  }
  const absl::Status complete = CheckComplete(snapshot);
  if (complete.ok()) return snapshot;
  return absl::NotFoundError(absl::StrCat("its snapshot in the cache is not whole: ", complete.message()));
}

absl::Status CheckComplete(const fs::path& folder) {
  DIPTYCH_RETURN_IF_ERROR(Has(folder, {"config.json"}));
  for (const auto& [file, other] : kNeededFiles) DIPTYCH_RETURN_IF_ERROR(Has(folder, {file, other}));
  DIPTYCH_RETURN_IF_ERROR(CheckLinks(folder));
  return HasWeights(folder);
}

std::vector<std::string> CachedModels(const fs::path& cache) {
  std::vector<std::string> models;
  std::error_code error;
  for (fs::directory_iterator entry(cache, error), end; !error && entry != end; entry.increment(error)) {
    for (fs::directory_iterator snapshot(entry->path() / "snapshots", error); !error && snapshot != end;) {
      if (std::string name = RepositoryOfSnapshot(snapshot->path()); !name.empty()) models.push_back(std::move(name));
      break;
    }
    error.clear();
  }
  std::sort(models.begin(), models.end());
  return models;
}

}  // namespace diptych
