#include "blip2/rounding.h"

#include <ATen/ATen.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "blip2/checkpoint/checkpoint.h"
#include "blip2/checkpoint/tensor_names.h"
#include "blip2/json_reader.h"
#include "blip2/opt.h"
#include "blip2/vision_model.h"
#include "common/files.h"
#include "common/models/model_family.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kAlignment = 64;  // of the data in the file

using Matrices = std::map<std::string, std::shared_ptr<const IntegerMatrix>>;

Matrices Round(const Checkpoint& checkpoint, IntegerType type) {
  Matrices matrices;
  const Placement placement = {.integers = type};
  const OnRounded keep = [&](const std::string& name, std::shared_ptr<const IntegerMatrix> matrix) {
    matrices.emplace(name, std::move(matrix));
  };
  const VisionModel vision(checkpoint, placement, keep);
  const OptDecoder decoder(checkpoint, placement, keep);
  return matrices;
}

const char* ElementName(at::ScalarType dtype) {
  switch (dtype) {
    case at::kChar:
      return "I8";
    case at::kBFloat16:
      return "BF16";
    case at::kHalf:
      return "F16";
    default:
      return "F32";
  }
}

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Content of the new checkpoint; the original's tensors stay in their file. The largest elements first, so that each
// tensor is aligned to its own.
NamedTensors TensorsOf(const Checkpoint& checkpoint, const Matrices& matrices) {
  NamedTensors tensors;
  std::set<std::string> replaced = {std::string(kLmHead)};
  for (const TensorSpec& spec : ExpectedTensors(checkpoint.config())) {
    if (IsRounded(spec)) replaced.insert(spec.name);
  }
  for (const std::string& name : checkpoint.TensorNames()) {
    const at::Tensor view = checkpoint.View(name);
    if (!replaced.contains(name) && view.is_floating_point()) tensors.emplace_back(name, view);
  }
  for (const auto& [name, matrix] : matrices) {
    const RoundedNames names(name);
    const RoundedParts& parts = matrix->parts();
    tensors.emplace_back(names.values, parts.values);
    if (parts.multipliers.defined()) tensors.emplace_back(names.multipliers, parts.multipliers);
    tensors.emplace_back(names.scales, parts.scales.narrow(0, 0, matrix->out()));
    tensors.emplace_back(names.factors, parts.factors);
  }
  std::stable_sort(tensors.begin(), tensors.end(),
                   [](const auto& a, const auto& b) { return a.second.element_size() > b.second.element_size(); });
  return tensors;
}

// Length and JSON header of a safetensors file.
std::string Header(const NamedTensors& tensors) {
  json header = json::object();
  size_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", ElementName(tensor.scalar_type())},
                    {"shape", tensor.sizes().vec()},
                    {"data_offsets", {offset, offset + tensor.nbytes()}}};
    offset += tensor.nbytes();
  }
  std::string text = header.dump();
  const size_t whole = (sizeof(uint64_t) + text.size() + kAlignment - 1) / kAlignment * kAlignment;
  text.resize(whole - sizeof(uint64_t), ' ');
  const uint64_t length = text.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + text;
}

constexpr char kConfig[] = "config.json";
constexpr char kWeights[] = "model.safetensors";

// The error of errno.
absl::Status WriteFault(const char* name) {
  return absl::UnavailableError(absl::StrCat(name, ": ", std::strerror(errno)));
}

absl::Status WriteAll(int descriptor, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t written = write(descriptor, data, size);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return WriteFault(kWeights);
    data += written;
    size -= static_cast<size_t>(written);
  }
  return absl::OkStatus();
}

absl::Status WriteTensors(const fs::path& file, const NamedTensors& tensors) {
  const int descriptor = open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (descriptor < 0) return WriteFault(kWeights);
  const absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };
  const std::string header = Header(tensors);
  DIPTYCH_RETURN_IF_ERROR(WriteAll(descriptor, header.data(), header.size()));
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor whole = tensor.contiguous();
    DIPTYCH_RETURN_IF_ERROR(WriteAll(descriptor, static_cast<const char*>(whole.const_data_ptr()), whole.nbytes()));
  }
  return fsync(descriptor) == 0 ? absl::OkStatus() : WriteFault(kWeights);
}

// Configuration and tokenizer: all JSON and text files but the index of shards, config.json changed.
absl::Status CopyFacts(const fs::path& from, const fs::path& to, const Checkpoint& checkpoint, IntegerType type) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(from, error)) {
    const fs::path name = entry.path().filename();
    const bool fact = name.extension() == ".json" || name.extension() == ".txt" || name.extension() == ".md";
    if (!fact || name == kConfig || !entry.is_regular_file() || name.string().ends_with(".index.json")) continue;
    fs::copy_file(entry.path(), to / name, error);
    if (error) return absl::UnavailableError(absl::StrCat(name.string(), ": ", error.message()));
  }
  DIPTYCH_ASSIGN_OR_RETURN(json config, ReadJsonObject(from / kConfig));
  config["quantization_config"] = {{"quant_method", kRoundedMethod},
                                   {"layout", 1},
                                   {"bits", type == IntegerType::kInt8 ? 8 : 4},
                                   {"vision_fingerprint", checkpoint.VisionFingerprint()}};
  return WriteBytes(to / kConfig, config.dump(2) + "\n") ? absl::OkStatus() : WriteFault(kConfig);
}

absl::Status WriteFolder(const fs::path& from, const fs::path& to, const Checkpoint& checkpoint, IntegerType type) {
  std::error_code error;
  if (!fs::create_directory(to, error)) {
    return absl::UnavailableError(absl::StrCat("the folder ", to.string(), " cannot be made: ", error.message()));
  }
  DIPTYCH_RETURN_IF_ERROR(CopyFacts(from, to, checkpoint, type));
  const Matrices matrices = Round(checkpoint, type);
  return WriteTensors(to / kWeights, TensorsOf(checkpoint, matrices));
}

}  // namespace

absl::Status WriteRounded(const fs::path& from, const fs::path& to, IntegerType type) {
  std::error_code error;
  const fs::path whole = to.has_filename() ? to : to.parent_path();
  if (fs::exists(fs::symlink_status(whole, error)))
    return absl::AlreadyExistsError("the folder to write exists already");
  DIPTYCH_ASSIGN_OR_RETURN(const auto checkpoint, Checkpoint::Open(from));
  if (checkpoint->config().rounded) return absl::FailedPreconditionError("the checkpoint is rounded already");
  RemoveAbandoned(whole);
  Unfinished folder(whole);
  DIPTYCH_RETURN_IF_ERROR(WriteFolder(from, folder.path(), *checkpoint, type));
  if (folder.Finish()) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("the folder cannot be named: ", std::strerror(errno)));
}

}  // namespace diptych::blip2
