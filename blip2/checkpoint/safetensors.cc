#include "blip2/checkpoint/safetensors.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "blip2/json_reader.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;

static_assert(std::endian::native == std::endian::little, "the bytes of a safetensors file are little-endian");

constexpr size_t kLengthBytes = 8;  // the header's own length comes first
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxNameBytes = 512;

struct ElementType {
  at::ScalarType dtype;
  uint64_t bytes;
};

std::optional<ElementType> ParseElementType(std::string_view word) {
  if (word == "F32") return ElementType{at::ScalarType::Float, 4};
  if (word == "BF16") return ElementType{at::ScalarType::BFloat16, 2};
  if (word == "F16") return ElementType{at::ScalarType::Half, 2};
  if (word == "I8") return ElementType{at::ScalarType::Char, 1};
  if (word == "I64") return ElementType{at::ScalarType::Long, 8};
  return std::nullopt;
}

// The natural numbers in a JSON list; nothing if it is something else or longer than `max_count`.
std::optional<std::vector<uint64_t>> ParseNaturals(const json& object, std::string_view field, size_t max_count) {
  const auto list = object.find(field);
  if (list == object.end() || !list->is_array() || list->size() > max_count) return std::nullopt;
  std::vector<uint64_t> numbers;
  for (const json& entry : *list) {
    const auto* number = entry.get_ptr<const json::number_unsigned_t*>();
    if (number == nullptr) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

// One entry of the header against the `data` that follows it.
absl::StatusOr<TensorEntry> ParseEntry(const json& object, std::string_view data) {
  if (!object.is_object()) return absl::InvalidArgumentError("is not an object");
  const auto word = object.find("dtype");
  const std::string* dtype = word == object.end() ? nullptr : word->get_ptr<const std::string*>();
  if (dtype == nullptr) return absl::InvalidArgumentError("has no dtype");
  const std::optional<ElementType> element = ParseElementType(*dtype);
  if (!element) {
    return absl::InvalidArgumentError(
        absl::StrCat("has dtype ", Printable(*dtype), "; F32, BF16, F16 and I64 are read"));
  }
  const auto shape = ParseNaturals(object, "shape", kMaxRank);
  if (!shape) return absl::InvalidArgumentError(absl::StrCat("has no shape of at most ", kMaxRank, " dimensions"));
  const auto offsets = ParseNaturals(object, "data_offsets", 2);
  if (!offsets || offsets->size() != 2) return absl::InvalidArgumentError("has no pair of data_offsets");

  int64_t bytes = static_cast<int64_t>(element->bytes);
  TensorEntry entry{.dtype = element->dtype, .shape = {}, .data = {}};
  for (const uint64_t dimension : *shape) {
    constexpr uint64_t kMaxDimension = std::numeric_limits<int64_t>::max();
    if (dimension > kMaxDimension || __builtin_mul_overflow(bytes, dimension, &bytes)) {
      return absl::InvalidArgumentError("has a shape whose size overflows");
    }
    entry.shape.push_back(static_cast<int64_t>(dimension));
  }
  const uint64_t begin = (*offsets)[0];
  const uint64_t end = (*offsets)[1];
  if (begin > end || end > data.size()) return absl::InvalidArgumentError("lies outside the file");
  if (end - begin != static_cast<uint64_t>(bytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("has ", end - begin, " bytes, but its shape and dtype need ", bytes));
  }
  entry.data = data.substr(begin, end - begin);
  return entry;
}

// The header as JSON. A repeated key is refused: two readers could take different tensors for it.
absl::StatusOr<json> ParseHeader(std::string_view header) {
  std::string repeated;
  absl::StatusOr<json> parsed = ParseJson(header, "header", &repeated);
  if (!repeated.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("tensor ", Printable(repeated), ": named twice"));
  }
  if (parsed.ok() && !parsed->is_object()) return absl::InvalidArgumentError("header: not a JSON object");
  return parsed;
}

using Entries = std::map<std::string, TensorEntry, std::less<>>;

// Checks that the tensors cover `data` exactly once.
absl::Status CheckTiling(const Entries& entries, std::string_view data) {
  std::vector<const Entries::value_type*> by_offset;
  for (const auto& named : entries) by_offset.push_back(&named);
  std::sort(by_offset.begin(), by_offset.end(), [](const auto* a, const auto* b) {
    return std::pair(a->second.data.data(), a->second.data.size()) <
           std::pair(b->second.data.data(), b->second.data.size());
  });
  const char* expected = data.data();
  for (const auto* named : by_offset) {
    const std::string_view bytes = named->second.data;
    if (bytes.data() != expected) {
      return absl::InvalidArgumentError(
          absl::StrCat("tensor ", Printable(named->first), ": ",
                       bytes.data() < expected ? "overlaps the tensor before it" : "leaves a hole before it"));
    }
    expected += bytes.size();
  }
  if (expected != data.data() + data.size()) return absl::InvalidArgumentError("bytes after the last tensor");
  return absl::OkStatus();
}

absl::StatusOr<Entries> ParseFile(std::string_view file) {
  if (file.starts_with("version https://git-lfs")) {
    return absl::InvalidArgumentError("a pointer of Git LFS, not the weights: get them with git lfs pull");
  }
  if (file.size() < kLengthBytes) return absl::InvalidArgumentError("too short to hold a header");
  uint64_t header_bytes = 0;
  std::copy_n(file.data(), kLengthBytes, reinterpret_cast<char*>(&header_bytes));
  if (header_bytes > kMaxJsonBytes) {
    return absl::InvalidArgumentError(absl::StrCat("header: longer than ", kMaxJsonBytes, " bytes"));
  }
  if (header_bytes > file.size() - kLengthBytes) return absl::InvalidArgumentError("header: ends after the file");
  DIPTYCH_ASSIGN_OR_RETURN(const json header, ParseHeader(file.substr(kLengthBytes, header_bytes)));
  const std::string_view data = file.substr(kLengthBytes + header_bytes);

  Entries entries;
  for (const auto& [name, object] : header.items()) {
    if (name == "__metadata__") continue;
    const std::string where = absl::StrCat("tensor ", Printable(name));
    if (name.size() > kMaxNameBytes) {
      return absl::InvalidArgumentError(absl::StrCat(where, ": name longer than ", kMaxNameBytes, " bytes"));
    }
    absl::StatusOr<TensorEntry> entry = ParseEntry(object, data);
    if (!entry.ok()) return Annotate(entry.status(), where);
    entries.emplace(name, *std::move(entry));
  }
  DIPTYCH_RETURN_IF_ERROR(CheckTiling(entries, data));
  return entries;
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsFile>> SafetensorsFile::Open(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  // O_NONBLOCK: opening a pipe would wait for its writer.
  const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) {
    if (errno == ENOENT) return absl::NotFoundError(absl::StrCat(name, ": no such file"));
    return absl::InvalidArgumentError(absl::StrCat(name, ": cannot be opened"));
  }
  const absl::Cleanup close_descriptor = [descriptor] { close(descriptor); };
  struct stat facts = {};
  if (fstat(descriptor, &facts) != 0 || !S_ISREG(facts.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": not a regular file"));
  }
  if (facts.st_size == 0) return absl::InvalidArgumentError(absl::StrCat(name, ": empty"));
  const size_t size = static_cast<size_t>(facts.st_size);
  void* const mapping = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  if (mapping == MAP_FAILED) return absl::InvalidArgumentError(absl::StrCat(name, ": cannot be mapped"));

  std::unique_ptr<SafetensorsFile> opened(new SafetensorsFile(mapping, size));
  absl::StatusOr<Entries> entries = ParseFile(std::string_view(static_cast<const char*>(mapping), size));
  if (!entries.ok()) return Annotate(entries.status(), name);
  opened->tensors_ = *std::move(entries);
  return opened;
}

std::string_view SafetensorsFile::From(const char* begin, size_t count) const {
  const std::string_view mapped(static_cast<const char*>(mapping_), size_);
  const std::less<> before;
  if (before(begin, mapped.data()) || !before(begin, mapped.data() + mapped.size())) return {};
  return mapped.substr(static_cast<size_t>(begin - mapped.data()), count);
}

SafetensorsFile::~SafetensorsFile() {
  munmap(mapping_, size_);
}

}  // namespace diptych::blip2
