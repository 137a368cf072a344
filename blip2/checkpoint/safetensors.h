// Reads .safetensors files, which are hostile until checked.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::blip2 {

// Position of one tensor in the file.
struct TensorEntry {
  at::ScalarType dtype;        // float32, bfloat16, float16, int64 or int8
  std::vector<int64_t> shape;  // may be empty (a scalar)
  std::string_view data;       // the raw little-endian bytes inside the mapping
};

// One mapped file. Const after Open; thread-safe.
class SafetensorsFile {
 public:
  // Maps the file and checks its header: at most 16 MiB and inside the file, no duplicate names,
  // known dtypes, offsets that tile the data without hole or overlap, shape × dtype = bytes with
  // overflow checked. INVALID_ARGUMENT names the file's base name and the tensor.
  static absl::StatusOr<std::unique_ptr<SafetensorsFile>> Open(const std::filesystem::path& file);
  ~SafetensorsFile();

  SafetensorsFile(const SafetensorsFile&) = delete;
  SafetensorsFile& operator=(const SafetensorsFile&) = delete;

  const std::map<std::string, TensorEntry, std::less<>>& tensors() const { return tensors_; }

  // The mapped bytes from `begin` on, `count` at most; none if `begin` is not in the mapping.
  std::string_view From(const char* begin, size_t count) const;

 private:
  SafetensorsFile(void* mapping, size_t size) : mapping_(mapping), size_(size) {}

  void* const mapping_;
  const size_t size_;
  std::map<std::string, TensorEntry, std::less<>> tensors_;
};

}  // namespace diptych::blip2
