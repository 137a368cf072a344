#include "blip2/transfer.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace diptych::blip2 {
namespace {

thread_local TransferCounts counts;

// Pinned memory that libtorch keeps and gives out again once the copy from it has been made.
at::Tensor Pinned(const at::Tensor& host) {
  return at::empty(host.sizes(), host.options().pinned_memory(true)).copy_(host);
}

}  // namespace

TransferCounts Transfers() {
  return counts;
}

at::Tensor Upload(const at::Tensor& host, c10::Device device) {
  TORCH_CHECK(host.is_cpu(), "expected a tensor on the host, got one on ", host.device());
  if (device.is_cpu()) return host;
  ++counts.uploads;
  counts.bytes += static_cast<int64_t>(host.nbytes());
  return (device.is_cuda() ? Pinned(host) : host).to(device, /*non_blocking=*/true);
}

at::Tensor Upload(const std::vector<int64_t>& values, c10::Device device) {
  return Upload(at::tensor(values, at::kLong), device);
}

at::Tensor Download(const at::Tensor& x) {
  if (x.is_cpu()) return x;
  ++counts.downloads;
  counts.bytes += static_cast<int64_t>(x.nbytes());
  if (x.numel() == 0) Synchronize(x.device());  // a copy of nothing would not wait
  return x.to(at::kCPU);
}

void Synchronize(c10::Device device) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace diptych::blip2
