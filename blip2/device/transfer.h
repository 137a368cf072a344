// Copies tensors between the host and a model's device; all such copies are here.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Stream.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace c10 {
struct Event;
}

namespace diptych::blip2 {

// Copies of one thread since it began. Between the host and itself nothing is copied, and nothing counted.
struct TransferCounts {
  int64_t uploads = 0;
  int64_t downloads = 0;
  int64_t bytes = 0;  // both ways
  int64_t downloaded_bytes = 0;
};
TransferCounts Transfers();

// `host` on `device`, in its own type: what is to be converted is converted there. Goes through pinned memory on CUDA
// and does not wait. Requires: `host` is on the CPU.
at::Tensor Upload(const at::Tensor& host, c10::Device device);

// int64 [N].
at::Tensor Upload(const std::vector<int64_t>& values, c10::Device device);

// A copy of `host` where a card reads by itself; elsewhere `host` itself. Thread-safe.
at::Tensor Pin(const at::Tensor& host, c10::Device device);

// A tensor on its way to a device. May be copied; thread-compatible.
class SideUpload {
 public:
  // It, on the device. Does not wait: what the device is given from now on does, there.
  at::Tensor Take() const;

 private:
  friend class SideUploads;
  at::Tensor sent_;
  std::shared_ptr<const c10::Event> copied_;  // null if there is nothing to wait for
};

// Uploads beside what the device computes. Confined to the thread that runs the model.
class SideUploads {
 public:
  explicit SideUploads(c10::Device device);
  // As Upload, but on a stream of its own; what Pin gave is not copied again.
  SideUpload Send(const at::Tensor& host) const;

 private:
  c10::Device device_;
  std::optional<c10::Stream> aside_;  // of a card
};

// Numbers of several tensors that go to a device in one copy. Thread-compatible.
class UploadBatch {
 public:
  // `tensor` will be these numbers, in this shape. It must stay where it is until they are sent.
  void Add(std::span<const int64_t> values, at::Tensor& tensor, std::vector<int64_t> shape = {-1});
  // Likewise float64.
  void Add(std::span<const double> values, at::Tensor& tensor, std::vector<int64_t> shape = {-1});
  // Does not wait. Call once.
  void Send(c10::Device device);

 private:
  struct Part {
    at::Tensor* tensor;
    c10::ScalarType type;
    int64_t begin;
    std::vector<int64_t> shape;
  };
  void Append(const void* values, size_t count, Part part);

  std::vector<int64_t> numbers_;  // their bits: both types have eight bytes
  std::vector<Part> parts_;
};

// `x` on the CPU, once all that it depends on has been computed, even if it is empty: the time until then is the
// device's.
at::Tensor Download(const at::Tensor& x);

// Whether all its numbers are. Waits, as Download.
bool AllFinite(const at::Tensor& x);

// Rows of a result on their way to the host, while the device goes on to compute. Thread-compatible.
class RowDownload {
 public:
  // Of x [B, …]. Does not wait: from a card the rows follow one another on a stream of their own, into pinned memory,
  // once x has been computed. Counts as one download.
  explicit RowDownload(const at::Tensor& x);
  ~RowDownload();
  RowDownload(RowDownload&&) noexcept;
  RowDownload& operator=(RowDownload&&) noexcept;

  // Returns once x has been computed. An error of the device is thrown here.
  void AwaitComputed() const;
  // Row i on the CPU, in ordinary memory of its own, once it is there.
  at::Tensor Take(int64_t i) const;

 private:
  struct OnCard;
  at::Tensor rows_;                  // on the CPU
  std::unique_ptr<OnCard> on_card_;  // null if they have always been there
};

// Returns once the device has done all that it was given. An error of it is thrown here.
void Synchronize(c10::Device device);

}  // namespace diptych::blip2
