#include "blip2/cuda/paged_decode_attention.h"

#include <c10/util/Exception.h>

#include <array>

#include "absl/strings/str_cat.h"
#include "blip2/cuda/sources.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

constexpr int kThreads = 128;       // as the kernel's
constexpr int64_t kMaxWidth = 128;  // a thread makes one element

// The kernel's name of the type; null if it has none.
const char* ElementName(c10::ScalarType dtype) {
  switch (dtype) {
    case c10::ScalarType::Float:
      return "Float32";
    case c10::ScalarType::BFloat16:
      return "BFloat16";
    case c10::ScalarType::Half:
      return "Float16";
    default:
      return nullptr;
  }
}

void Launch(const CudaKernel& kernel, const PagedDecode& rows) {
  TORCH_CHECK(rows.query.is_contiguous() && rows.keys.is_contiguous() && rows.values.is_contiguous() &&
                  rows.tables.is_contiguous() && rows.out.is_contiguous(),
              "expected tensors without gaps");
  const void* query = rows.query.const_data_ptr();
  const void* keys = rows.keys.const_data_ptr();
  const void* values = rows.values.const_data_ptr();
  const void* tokens = rows.tokens.const_data_ptr();
  const void* tables = rows.tables.const_data_ptr();
  const void* lengths = rows.lengths.const_data_ptr();
  void* out = rows.out.mutable_data_ptr();
  int block_tokens = static_cast<int>(rows.keys.size(2)), table_width = static_cast<int>(rows.tables.size(1));
  std::array<void*, 9> arguments = {&query,   &keys, &values,       &tokens,     &tables,
                                    &lengths, &out,  &block_tokens, &table_width};
  kernel.Launch({.x = rows.tokens.size(0), .y = rows.query.size(1), .threads = kThreads}, arguments);
}

}  // namespace

absl::StatusOr<KernelSource> PagedDecodeSource(c10::ScalarType dtype, int64_t width) {
  const char* element = ElementName(dtype);
  if (element == nullptr || width < 1 || width > kMaxWidth) {
    return absl::InvalidArgumentError(
        absl::StrCat("no kernel for heads of ", width, " numbers of ", c10::toString(dtype)));
  }
  return KernelSource{.text = kPagedDecodeAttention,
                      .name = "PagedDecodeAttention",
                      .macros = {absl::StrCat("ELEMENT=", element), absl::StrCat("WIDTH=", width)}};
}

absl::StatusOr<AttendPaged> MakePagedDecodeAttention(c10::Device device, c10::ScalarType dtype, int64_t width) {
  DIPTYCH_ASSIGN_OR_RETURN(const KernelSource source, PagedDecodeSource(dtype, width));
  DIPTYCH_ASSIGN_OR_RETURN(const CudaKernel kernel, CudaKernel::Load(device, source));
  return [kernel](const PagedDecode& rows) { Launch(kernel, rows); };
}

}  // namespace diptych::blip2
