#include "blip2/checkpoint/checkpoint.h"

#include <ATen/ATen.h>
#include <sys/mman.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "blip2/checkpoint/tensor_names.h"
#include "blip2/device/transfer.h"
#include "blip2/json_reader.h"
#include "blip2/matrices/huge_pages.h"
#include "common/hash.h"
#include "common/models/hub_name.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

namespace fs = std::filesystem;

constexpr char kSingleFile[] = "model.safetensors";
constexpr char kIndexFile[] = "model.safetensors.index.json";
constexpr size_t kMaxShards = 1000;
constexpr size_t kReadAhead = size_t{128} << 20;  // bytes after a tensor that the disk reads while it is worked on

using Files = std::vector<std::shared_ptr<const SafetensorsFile>>;
using Tensors = std::map<std::string, const TensorEntry*, std::less<>>;

// The folder's own name, also for "." and for a path that ends in a slash; "ORG/NAME" for a snapshot in Hugging Face's
// cache, whose folder is named by its commit.
std::string ModelName(const fs::path& folder) {
  std::error_code error;
  const fs::path whole = fs::canonical(folder, error);
  if (error) return "";
  const std::string repository = RepositoryOfSnapshot(whole);
  return repository.empty() ? whole.filename().string() : repository;
}

// "a", or "3 tensors, the first is a".
std::string Count(const std::vector<std::string_view>& names) {
  const std::string first = Printable(names.front());
  return names.size() == 1 ? first : absl::StrCat(names.size(), " tensors, the first is ", first);
}

// The shards' base names, and which one each tensor lies in.
absl::StatusOr<std::map<std::string, std::string>> ReadWeightMap(const fs::path& folder) {
  DIPTYCH_ASSIGN_OR_RETURN(const nlohmann::json index, ReadJsonObject(folder / kIndexFile));
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object()) {
    return absl::InvalidArgumentError(absl::StrCat(kIndexFile, ": weight_map is not an object"));
  }
  std::map<std::string, std::string> shard_of;
  for (const auto& [tensor, value] : weight_map->items()) {
    const std::string* shard = value.get_ptr<const std::string*>();
    // A base name in the folder, so that an index cannot reach other files.
    if (shard == nullptr || !absl::EndsWith(*shard, ".safetensors") ||
        shard->find_first_of(std::string_view("/\\\0", 3)) != shard->npos) {
      return absl::InvalidArgumentError(absl::StrCat(kIndexFile, ": tensor ", Printable(tensor),
                                                     ": its shard is not the name of a .safetensors file"));
    }
    shard_of.emplace(tensor, *shard);
  }
  return shard_of;
}

// Checks that a shard holds exactly what the index says.
absl::Status CheckShard(const SafetensorsFile& file, const std::string& shard,
                        const std::map<std::string, std::string>& shard_of) {
  for (const auto& [name, entry] : file.tensors()) {
    const auto expected = shard_of.find(name);
    if (expected == shard_of.end() || expected->second != shard) {
      return absl::InvalidArgumentError(
          absl::StrCat(Printable(shard), ": tensor ", Printable(name), ": ", kIndexFile, " does not place it here"));
    }
  }
  for (const auto& [name, expected] : shard_of) {
    if (expected == shard && !file.tensors().contains(name)) {
      return absl::InvalidArgumentError(absl::StrCat(Printable(shard), ": tensor ", Printable(name), ": ", kIndexFile,
                                                     " places it here, but it is not"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Files> OpenShards(const fs::path& folder) {
  DIPTYCH_ASSIGN_OR_RETURN(const auto shard_of, ReadWeightMap(folder));
  std::set<std::string> shards;
  for (const auto& [tensor, shard] : shard_of) shards.insert(shard);
  if (shards.size() > kMaxShards) {
    return absl::InvalidArgumentError(absl::StrCat(kIndexFile, ": names more than ", kMaxShards, " shards"));
  }
  Files files;
  for (const std::string& shard : shards) {
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(folder / shard);
    if (!file.ok()) return file.status();
    DIPTYCH_RETURN_IF_ERROR(CheckShard(**file, shard, shard_of));
    files.push_back(*std::move(file));
  }
  return files;
}

absl::StatusOr<Files> OpenFiles(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder / kSingleFile, error)) {
    absl::StatusOr<std::unique_ptr<SafetensorsFile>> file = SafetensorsFile::Open(folder / kSingleFile);
    if (!file.ok()) return file.status();
    Files files;
    files.push_back(*std::move(file));
    return files;
  }
  if (fs::exists(folder / kIndexFile, error)) return OpenShards(folder);
  for (const char* pickled : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    if (!fs::exists(folder / pickled, error)) continue;
    return absl::NotFoundError(
        absl::StrCat(kSingleFile, ": no such file, and ", pickled,
                     " is not read because loading a pickle runs code: convert the checkpoint to safetensors with "
                     "transformers' save_pretrained"));
  }
  return absl::NotFoundError(absl::StrCat(kSingleFile, ": no such file, nor ", kIndexFile));
}

// Weights of transformers before April 2023: the vision attention's bias in two parts.
bool IsSplitBias(std::string_view name) {
  return name.starts_with("vision_model.") &&
         (name.ends_with(".self_attn.q_bias") || name.ends_with(".self_attn.v_bias"));
}

bool IsAcceptedExtra(std::string_view name) {
  return name == kLmHead || name == "position_ids" || name.ends_with(".position_ids");
}

absl::Status CheckShape(std::string_view name, const TensorEntry& entry, const std::vector<int64_t>& expected,
                        bool whole_numbers = false) {
  const std::string where = absl::StrCat("tensor ", Printable(name), ": ");
  if (whole_numbers && entry.dtype != at::kChar) {
    return absl::InvalidArgumentError(absl::StrCat(where, "holds no integers of 8 bits"));
  }
  if (!whole_numbers && !at::isFloatingType(entry.dtype)) {
    return absl::InvalidArgumentError(absl::StrCat(where, "holds integers"));
  }
  if (entry.shape == expected) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(where, "expected [", absl::StrJoin(expected, ", "), "], got [",
                                                 absl::StrJoin(entry.shape, ", "), "]"));
}

// That `tensors` are exactly those that the configuration implies.
absl::Status CheckTensors(const Config& config, const Tensors& tensors) {
  const std::vector<TensorSpec> specs = config.rounded ? ExpectedRoundedTensors(config) : ExpectedTensors(config);
  std::set<std::string_view> expected;
  for (const TensorSpec& spec : specs) expected.insert(spec.name);
  std::vector<std::string_view> extra;
  for (const auto& [name, entry] : tensors) {
    if (IsSplitBias(name)) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Printable(name),
                       ": q_bias and v_bias are apart, as checkpoints of early 2023 have them: load and "
                       "save the checkpoint with a current transformers, which joins them to qkv.bias"));
    }
    if (!expected.contains(name) && !IsAcceptedExtra(name)) extra.push_back(name);
  }
  std::vector<std::string_view> missing;
  for (const TensorSpec& spec : specs) {
    if (!tensors.contains(spec.name)) missing.push_back(spec.name);
  }
  if (!config.rounded && !config.text.tie_word_embeddings && !tensors.contains(kLmHead)) missing.push_back(kLmHead);
  if (!missing.empty()) return absl::InvalidArgumentError(absl::StrCat("missing: ", Count(missing)));
  if (!extra.empty()) return absl::InvalidArgumentError(absl::StrCat("not part of the model: ", Count(extra)));

  for (const TensorSpec& spec : specs) {
    DIPTYCH_RETURN_IF_ERROR(CheckShape(spec.name, *tensors.find(spec.name)->second, spec.shape, spec.whole_numbers));
  }
  if (const auto lm_head = tensors.find(kLmHead); lm_head != tensors.end()) {
    DIPTYCH_RETURN_IF_ERROR(CheckShape(kLmHead, *lm_head->second, LmHeadShape(config)));
  }
  return absl::OkStatus();
}

// Advice about the file's pages that hold `data`.
void Advise(std::string_view data, int advice) {
  const uintptr_t page = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
  const uintptr_t begin = reinterpret_cast<uintptr_t>(data.data()) / page * page;
  const uintptr_t end = reinterpret_cast<uintptr_t>(data.data()) + data.size();
  if (end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, advice);
}

// The tensor inside the mapping, or a copy where the file does not align it.
at::Tensor ViewOf(const TensorEntry& entry) {
  const size_t element = c10::elementSize(entry.dtype);
  if (reinterpret_cast<uintptr_t>(entry.data.data()) % element == 0) {
    return at::from_blob(const_cast<char*>(entry.data.data()), entry.shape, entry.dtype);
  }
  at::Tensor copy = at::empty(entry.shape, entry.dtype);
  std::memcpy(copy.data_ptr(), entry.data.data(), entry.data.size());
  return copy;
}

// Whole if small, else the first and last page and some between. Relative to the tensor, so that a
// tensor gives the same bytes wherever it lies in a file.
void HashSampled(std::string_view data, Sha256& hash) {
  constexpr size_t kSampleBytes = 4096;
  constexpr size_t kSamples = 8;
  if (data.size() <= kSampleBytes * kSamples) return hash.UpdateField(data);
  for (size_t i = 0; i < kSamples; ++i) {
    const size_t begin = (data.size() - kSampleBytes) / (kSamples - 1) * i;
    hash.UpdateField(data.substr(i + 1 == kSamples ? data.size() - kSampleBytes : begin, kSampleBytes));
  }
}

// Every field that changes visual tokens. Doubles as their exact bits.
std::string Canonical(const VisionConfig& vision, const ImageProcessorConfig& processor) {
  std::string text =
      absl::StrCat("vision ", vision.hidden_size, " ", vision.intermediate_size, " ", vision.num_hidden_layers, " ",
                   vision.num_attention_heads, " ", vision.image_size, " ", vision.patch_size, " ", vision.qkv_bias,
                   " processor ", processor.image_size, " ", processor.resample);
  std::vector<double> reals = {vision.layer_norm_eps, processor.rescale_factor};
  reals.insert(reals.end(), processor.image_mean.begin(), processor.image_mean.end());
  reals.insert(reals.end(), processor.image_std.begin(), processor.image_std.end());
  for (const double real : reals) absl::StrAppend(&text, " ", absl::Hex(std::bit_cast<uint64_t>(real)));
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> Checkpoint::Open(const fs::path& folder) {
  std::error_code error;
  if (!fs::is_directory(folder, error)) return absl::NotFoundError("the checkpoint is not a folder");
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint());
  checkpoint->name_ = ModelName(folder);
  DIPTYCH_ASSIGN_OR_RETURN(checkpoint->config_, LoadConfig(folder));
  DIPTYCH_ASSIGN_OR_RETURN(checkpoint->files_, OpenFiles(folder));
  for (const auto& file : checkpoint->files_) {
    for (const auto& [name, entry] : file->tensors()) checkpoint->tensors_.emplace(name, &entry);
  }
  DIPTYCH_RETURN_IF_ERROR(CheckTensors(checkpoint->config_, checkpoint->tensors_));
  return checkpoint;
}

bool Checkpoint::Has(std::string_view tensor) const {
  const auto found = tensors_.find(tensor);
  if (found == tensors_.end()) return false;
  if (tensor != kLmHead || !config_.text.tie_word_embeddings) return true;
  // Legacy checkpoints store the tied matrix twice; transformers ties only if the two are equal.
  const TensorEntry& embedding = *tensors_.find(kEmbedTokens)->second;
  return found->second->dtype != embedding.dtype || found->second->data != embedding.data;
}

std::vector<std::string> Checkpoint::TensorNames() const {
  std::vector<std::string> names;
  for (const auto& [name, entry] : tensors_) names.push_back(name);
  return names;
}

int64_t Checkpoint::StoredBytes(std::string_view prefix) const {
  int64_t bytes = 0;
  for (const auto& [name, entry] : tensors_) {
    if (name.starts_with(prefix)) bytes += static_cast<int64_t>(entry->data.size());
  }
  return bytes;
}

c10::ScalarType Checkpoint::StoredType(std::string_view tensor) const {
  return tensors_.find(tensor)->second->dtype;
}

at::Tensor Checkpoint::Load(std::string_view tensor, const Placement& placement) const {
  // Given back after the copy, so that loading a model holds one tensor twice and not all of them.
  const at::Tensor source = View(tensor);
  const c10::ScalarType dtype = source.is_floating_point() ? placement.dtype : source.scalar_type();
  at::Tensor loaded = at::empty(source.sizes(), at::TensorOptions().dtype(dtype).device(placement.device));
  AskForHugePages(loaded);
  loaded.copy_(Upload(source, placement.device));
  Release(tensor);
  return loaded;
}

at::Tensor Checkpoint::View(std::string_view tensor) const {
  const TensorEntry& entry = *tensors_.find(tensor)->second;
  for (const auto& file : files_) Advise(file->From(entry.data.data(), entry.data.size() + kReadAhead), MADV_WILLNEED);
  Advise(entry.data, MADV_POPULATE_READ);  // all pages at once in place of a fault for each
  if (on_read_) on_read_(static_cast<int64_t>(entry.data.size()));
  return ViewOf(entry);
}

at::Tensor Checkpoint::Map(std::string_view tensor) const {
  const at::Tensor view = View(tensor);
  const TensorEntry& entry = *tensors_.find(tensor)->second;
  if (view.const_data_ptr() != entry.data.data()) return view;  // a copy
  for (const auto& file : files_) {
    if (file->From(entry.data.data(), 1).empty()) continue;
    return at::from_blob(
        const_cast<char*>(entry.data.data()), entry.shape, [file](void*) {}, entry.dtype);
  }
  return view.clone();
}

void Checkpoint::Release(std::string_view tensor) const {
  Advise(tensors_.find(tensor)->second->data, MADV_DONTNEED);
}

std::string Checkpoint::VisionFingerprint() const {
  if (config_.rounded) return config_.rounded->vision_fingerprint;
  Sha256 hash;
  hash.UpdateField("diptych vision fingerprint 1");
  hash.UpdateField(Canonical(config_.vision, config_.image_processor));
  for (const auto& [name, entry] : tensors_) {
    if (!name.starts_with("vision_model.") || IsAcceptedExtra(name)) continue;
    hash.UpdateField(name);
    hash.UpdateField(absl::StrCat(c10::toString(entry->dtype), " ", absl::StrJoin(entry->shape, " ")));
    HashSampled(entry->data, hash);
  }
  return ToHex(hash.Finish());
}

}  // namespace diptych::blip2
