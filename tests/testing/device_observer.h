// Watches what a thread gives to ATen: copies between devices, operators that mix them, and waits.
#pragma once

#include <ATen/ATen.h>
#include <ATen/record_function.h>

#include <algorithm>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace diptych::testing {

// Counts from its construction to its end, below any function that the project calls: nothing can pass by it. A device
// is anything but the CPU; "meta" will do, whose tensors have shapes and no numbers, so that a hidden download throws.
// One a thread at a time.
class DeviceObserver {
 public:
  DeviceObserver() {
    current_ = this;
    handle_ = at::addThreadLocalCallback(at::RecordFunctionCallback(&DeviceObserver::Begin).needsInputs(true));
  }
  ~DeviceObserver() {
    at::removeCallback(handle_);
    current_ = nullptr;
  }
  DeviceObserver(const DeviceObserver&) = delete;
  DeviceObserver& operator=(const DeviceObserver&) = delete;

  int uploads() const { return uploads_; }
  int downloads() const { return downloads_; }
  // Operators that got tensors of the host and of a device, and those that make the host wait for a number.
  const std::vector<std::string>& mixed() const { return mixed_; }
  const std::vector<std::string>& waits() const { return waits_; }
  // Calls of this operator with a tensor of a device.
  int CountOf(const std::string& name) const {
    const auto found = on_device_.find(name);
    return found == on_device_.end() ? 0 : found->second;
  }
  // Of all operators.
  int on_device() const {
    int count = 0;
    for (const auto& [name, calls] : on_device_) count += calls;
    return count;
  }

 private:
  static std::unique_ptr<at::ObserverContext> Begin(const at::RecordFunction& function) {
    if (current_ != nullptr) current_->See(function.name(), function.inputs());
    return nullptr;
  }

  void See(const std::string& name, c10::ArrayRef<const c10::IValue> inputs) {
    std::vector<at::Tensor> tensors;
    for (const c10::IValue& input : inputs) Collect(input, tensors);
    const auto on_host = [](const at::Tensor& tensor) { return tensor.is_cpu(); };
    if (std::all_of(tensors.begin(), tensors.end(), on_host)) return;
    ++on_device_[name];
    if (name == "aten::copy_") return SeeCopy(tensors);
    for (const char* waiting : {"aten::item", "aten::_local_scalar_dense", "aten::nonzero", "aten::equal",
                                "aten::masked_select", "aten::is_nonzero"}) {
      if (name == waiting) waits_.push_back(name);
    }
    // A number in the form of a tensor goes to the device with the launch.
    const auto real_on_host = [](const at::Tensor& tensor) { return tensor.is_cpu() && tensor.dim() > 0; };
    if (std::any_of(tensors.begin(), tensors.end(), real_on_host)) mixed_.push_back(name);
  }

  void SeeCopy(const std::vector<at::Tensor>& tensors) {
    const bool to_host = tensors[0].is_cpu(), from_host = tensors[1].is_cpu();
    if (to_host != from_host) ++(to_host ? downloads_ : uploads_);
  }

  static void Collect(const c10::IValue& value, std::vector<at::Tensor>& tensors) {
    if (value.isTensor()) {
      if (value.toTensor().defined()) tensors.push_back(value.toTensor());
    } else if (value.isList()) {
      for (const c10::IValue& element : value.toListRef()) Collect(element, tensors);
    }
  }

  static inline thread_local DeviceObserver* current_ = nullptr;
  at::CallbackHandle handle_ = 0;
  int uploads_ = 0;
  int downloads_ = 0;
  std::map<std::string, int> on_device_;
  std::vector<std::string> mixed_;
  std::vector<std::string> waits_;
};

}  // namespace diptych::testing
