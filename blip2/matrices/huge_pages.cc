#include "blip2/matrices/huge_pages.h"

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>

namespace diptych::blip2 {

void AskForHugePages(const at::Tensor& tensor) {
  constexpr size_t kHugePage = size_t{2} << 20;
  if (!tensor.is_cpu() || tensor.nbytes() < 2 * kHugePage) return;
  const uintptr_t begin = reinterpret_cast<uintptr_t>(tensor.data_ptr());
  const uintptr_t first = (begin + kHugePage - 1) / kHugePage * kHugePage;
  const uintptr_t last = (begin + tensor.nbytes()) / kHugePage * kHugePage;
  madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
}

}  // namespace diptych::blip2
