// A BLIP-2 checkpoint folder: configuration plus named weights, checked as a whole.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "blip2/checkpoint/config.h"
#include "blip2/checkpoint/safetensors.h"
#include "blip2/device/device.h"

namespace diptych::blip2 {

// Const after Open; thread-safe. Release it when every part is loaded: it holds the file mappings.
class Checkpoint {
 public:
  // Opens model.safetensors, or the shards that model.safetensors.index.json names, and checks that the
  // tensors are exactly those that the configuration implies (tensor_names.h), each with its shape.
  // Accepted besides them: language_model.lm_head.weight and `position_ids` buffers.
  // NOT_FOUND or INVALID_ARGUMENT; the message is one line and names the file or tensor.
  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::filesystem::path& folder);

  const Config& config() const { return config_; }
  // The served model's name: the folder's own, or "ORG/NAME" for a snapshot in Hugging Face's cache.
  const std::string& name() const { return name_; }
  // For kLmHead: whether the output matrix differs from the embedding. A tied matrix that is stored twice,
  // as legacy checkpoints do, counts as absent (this compares their bytes).
  bool Has(std::string_view tensor) const;

  // Bytes that the files have of tensors whose names begin with `prefix`.
  int64_t StoredBytes(std::string_view prefix) const;
  // Names of all tensors in the files, sorted.
  std::vector<std::string> TensorNames() const;
  // Has `read` called with the bytes of each tensor when it is loaded or viewed. Before the first of these.
  void OnRead(std::function<void(int64_t bytes)> read) { on_read_ = std::move(read); }

  // The type that the file has for the tensor, which must exist.
  c10::ScalarType StoredType(std::string_view tensor) const;

  // A copy of the tensor on `placement`; integers keep their type. `tensor` must exist (Open has proved
  // it for all that the configuration implies). The file's pages are given back after the copy, so that
  // loading all tensors needs the memory of the model plus one tensor. A file that another process
  // shortens meanwhile ends this one with SIGBUS; once everything is loaded the files are not needed.
  // Thread-safe. libtorch's out-of-memory exception passes through.
  at::Tensor Load(std::string_view tensor, const Placement& placement) const;

  // The tensor where the file has it, in the file's type; for reading alone, as long as this object exists. Reads the
  // file's pages, and has those after them read meanwhile. Thread-safe.
  at::Tensor View(std::string_view tensor) const;
  // View, for a tensor that outlives this object: it keeps the file mapped, so that processes that serve one file share
  // its pages. The file must not be changed meanwhile.
  at::Tensor Map(std::string_view tensor) const;
  // Gives the pages of a viewed tensor back; what is read there afterwards comes from the file again.
  void Release(std::string_view tensor) const;

  // Lower-case hexadecimal SHA-256 over the vision and image-processor configuration and, for every
  // vision_model.* tensor, its name, dtype, shape and sampled bytes. Equal fingerprints mean that the
  // visual tokens of one replica fit the Q-Former of another. Independent of the serving dtype.
  std::string VisionFingerprint() const;

 private:
  Checkpoint() = default;

  std::string name_;
  Config config_;
  std::vector<std::shared_ptr<const SafetensorsFile>> files_;
  std::map<std::string, const TensorEntry*, std::less<>> tensors_;
  std::function<void(int64_t bytes)> on_read_;
};

// Parameters and bytes of a part of the model as it is held in memory.
struct PartSize {
  int64_t parameters = 0;
  int64_t bytes = 0;
};

}  // namespace diptych::blip2
