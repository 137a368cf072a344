#include "blip2/transfer.h"

#include <ATen/ATen.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>
#include <utility>

namespace diptych::blip2 {
namespace {

thread_local TransferCounts counts;

// Pinned memory that libtorch keeps and gives out again once the copy from it has been made.
at::Tensor Pinned(const at::Tensor& host) {
  return at::empty(host.sizes(), host.options().pinned_memory(true)).copy_(host);
}

// From where the card reads by itself.
at::Tensor SendPinned(const at::Tensor& host, c10::Device device) {
  if (device.is_cpu()) return host;
  ++counts.uploads;
  counts.bytes += static_cast<int64_t>(host.nbytes());
  return host.to(device, /*non_blocking=*/true);
}

}  // namespace

TransferCounts Transfers() {
  return counts;
}

at::Tensor Upload(const at::Tensor& host, c10::Device device) {
  TORCH_CHECK(host.is_cpu(), "expected a tensor on the host, got one on ", host.device());
  return SendPinned(device.is_cuda() ? Pinned(host) : host, device);
}

at::Tensor Upload(const std::vector<int64_t>& values, c10::Device device) {
  UploadBatch batch;
  at::Tensor sent;
  batch.Add(values, sent);
  batch.Send(device);
  return sent;
}

void UploadBatch::Add(std::span<const int64_t> values, at::Tensor& tensor, std::vector<int64_t> shape) {
  Append(values.data(), values.size(), {.tensor = &tensor, .type = at::kLong, .begin = 0, .shape = std::move(shape)});
}

void UploadBatch::Add(std::span<const double> values, at::Tensor& tensor, std::vector<int64_t> shape) {
  Append(values.data(), values.size(), {.tensor = &tensor, .type = at::kDouble, .begin = 0, .shape = std::move(shape)});
}

void UploadBatch::Append(const void* values, size_t count, Part part) {
  part.begin = static_cast<int64_t>(numbers_.size());
  parts_.push_back(std::move(part));
  numbers_.resize(numbers_.size() + count);
  if (count > 0) std::memcpy(numbers_.data() + parts_.back().begin, values, count * sizeof(int64_t));
}

void UploadBatch::Send(c10::Device device) {
  const auto total = static_cast<int64_t>(numbers_.size());
  const at::Tensor host = at::empty({total}, at::TensorOptions(at::kLong).pinned_memory(device.is_cuda()));
  if (total > 0) std::memcpy(host.mutable_data_ptr(), numbers_.data(), host.nbytes());
  const at::Tensor sent = SendPinned(host, device);
  for (size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    const int64_t end = i + 1 < parts_.size() ? parts_[i + 1].begin : total;
    *part.tensor = sent.narrow(0, part.begin, end - part.begin).view(part.type).view(part.shape);
  }
}

at::Tensor Download(const at::Tensor& x) {
  if (x.is_cpu()) return x;
  ++counts.downloads;
  counts.bytes += static_cast<int64_t>(x.nbytes());
  counts.downloaded_bytes += static_cast<int64_t>(x.nbytes());
  if (x.numel() == 0) Synchronize(x.device());  // a copy of nothing would not wait
  return x.to(at::kCPU);
}

void Synchronize(c10::Device device) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace diptych::blip2
