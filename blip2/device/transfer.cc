#include "blip2/device/transfer.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>
#include <utility>

namespace diptych::blip2 {
namespace {

thread_local TransferCounts counts;

// From where the card reads by itself.
at::Tensor SendPinned(const at::Tensor& host, c10::Device device) {
  if (device.is_cpu()) return host;
  ++counts.uploads;
  counts.bytes += static_cast<int64_t>(host.nbytes());
  return host.to(device, /*non_blocking=*/true);
}

void CountDownload(const at::Tensor& x) {
  ++counts.downloads;
  counts.bytes += static_cast<int64_t>(x.nbytes());
  counts.downloaded_bytes += static_cast<int64_t>(x.nbytes());
}

// Rows that share a storage would keep all of it alive as long as one of them is.
at::Tensor InOwnStorage(const at::Tensor& row) {
  return row.storage().nbytes() == row.nbytes() && row.is_contiguous() ? row : row.clone(at::MemoryFormat::Contiguous);
}

}  // namespace

TransferCounts Transfers() {
  return counts;
}

// libtorch keeps pinned memory, and gives it out again once the copy from it has been made.
at::Tensor Pin(const at::Tensor& host, c10::Device device) {
  TORCH_CHECK(host.is_cpu(), "expected a tensor on the host, got one on ", host.device());
  if (!device.is_cuda() || host.is_pinned()) return host;
  return at::empty(host.sizes(), host.options().pinned_memory(true)).copy_(host);
}

at::Tensor Upload(const at::Tensor& host, c10::Device device) {
  return SendPinned(Pin(host, device), device);
}

at::Tensor Upload(const std::vector<int64_t>& values, c10::Device device) {
  UploadBatch batch;
  at::Tensor sent;
  batch.Add(values, sent);
  batch.Send(device);
  return sent;
}

SideUploads::SideUploads(c10::Device device) : device_(device) {
  if (device.is_cuda()) aside_ = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
}

SideUpload SideUploads::Send(const at::Tensor& host) const {
  SideUpload upload;
  if (!aside_) {
    upload.sent_ = Upload(host, device_);
    return upload;
  }
  const c10::StreamGuard guard(*aside_);  // memory of this stream, too: what had it before is over
  upload.sent_ = Upload(host, device_);
  const auto copied = std::make_shared<c10::Event>(device_.type());
  copied->record(*aside_);
  upload.copied_ = copied;
  return upload;
}

at::Tensor SideUpload::Take() const {
  if (copied_ == nullptr) return sent_;
  const c10::impl::VirtualGuardImpl card(sent_.device().type());
  const c10::Stream own = card.getStream(sent_.device());
  copied_->block(own);
  card.recordDataPtrOnStream(sent_.storage().data_ptr(), own);  // no one else's before it has been read there
  return sent_;
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
  CountDownload(x);
  if (x.numel() == 0) Synchronize(x.device());  // a copy of nothing would not wait
  return x.to(at::kCPU);
}

bool AllFinite(const at::Tensor& x) {
  return Download(x.isfinite().all()).item<bool>();
}

struct RowDownload::OnCard {
  at::Tensor source;
  c10::Event computed;
  std::vector<c10::Event> copied;  // a row each
};

RowDownload::RowDownload(const at::Tensor& x) {
  if (!x.is_cuda()) {
    rows_ = Download(x);
    return;
  }
  CountDownload(x);
  const c10::DeviceType type = x.device().type();
  const c10::impl::VirtualGuardImpl card(type);
  on_card_ = std::make_unique<OnCard>(OnCard{.source = x.contiguous(), .computed = c10::Event(type), .copied = {}});
  const at::Tensor& source = on_card_->source;
  rows_ = at::empty(source.sizes(), source.options().device(at::kCPU).pinned_memory(true));
  const c10::Stream aside = card.getStreamFromGlobalPool(x.device());
  on_card_->computed.record(card.getStream(x.device()));
  on_card_->computed.block(aside);
  card.recordDataPtrOnStream(source.storage().data_ptr(), aside);  // its memory is no one else's before it is copied
  const c10::StreamGuard guard(aside);
  for (int64_t i = 0; i < source.size(0); ++i) {
    rows_[i].copy_(source[i], /*non_blocking=*/true);
    on_card_->copied.emplace_back(type).record(aside);
  }
}

RowDownload::~RowDownload() = default;
RowDownload::RowDownload(RowDownload&&) noexcept = default;
RowDownload& RowDownload::operator=(RowDownload&&) noexcept = default;

void RowDownload::AwaitComputed() const {
  if (on_card_) on_card_->computed.synchronize();
}

at::Tensor RowDownload::Take(int64_t i) const {
  if (!on_card_) return InOwnStorage(rows_[i]);
  on_card_->copied[static_cast<size_t>(i)].synchronize();
  return rows_[i].clone();  // pinned memory is for copies that are on their way
}

void Synchronize(c10::Device device) {
  if (device.is_cuda()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

}  // namespace diptych::blip2
