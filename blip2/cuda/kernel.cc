#include "blip2/cuda/kernel.h"

#include <c10/core/impl/VirtualGuardImpl.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>

#include <filesystem>
#include <initializer_list>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::blip2 {
namespace {

// A function of a library that is opened when the program runs.
template <typename Function>
Function Find(void* library, const char* name) {
  return reinterpret_cast<Function>(library == nullptr ? nullptr : dlsym(library, name));
}

void* Open(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  }
  return nullptr;
}

// NVRTC's functions, as nvrtc.h declares them.
struct Nvrtc {
  using Program = void*;
  int (*create)(Program*, const char* source, const char* name, int headers, const char* const*, const char* const*);
  int (*compile)(Program, int count, const char* const* options);
  int (*log_size)(Program, size_t*);
  int (*log)(Program, char*);
  int (*code_size)(Program, size_t*);
  int (*code)(Program, char*);
  int (*destroy)(Program*);
};

// NVRTC looks for its own second library by name alone; once it is open, the name is enough.
void OpenBuiltins(const void* function) {
  Dl_info nvrtc = {};
  if (dladdr(function, &nvrtc) == 0) return;
  std::error_code ignored;
  const std::filesystem::path folder = std::filesystem::path(nvrtc.dli_fname).parent_path();
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.path().filename().string().starts_with("libnvrtc-builtins.so")) dlopen(entry.path().c_str(), RTLD_NOW);
  }
}

// Null members if it is not there.
Nvrtc OpenNvrtc() {
  void* const library = Open({"libnvrtc.so.13", "libnvrtc.so.12"});
  const Nvrtc nvrtc = {.create = Find<decltype(Nvrtc::create)>(library, "nvrtcCreateProgram"),
                       .compile = Find<decltype(Nvrtc::compile)>(library, "nvrtcCompileProgram"),
                       .log_size = Find<decltype(Nvrtc::log_size)>(library, "nvrtcGetProgramLogSize"),
                       .log = Find<decltype(Nvrtc::log)>(library, "nvrtcGetProgramLog"),
                       .code_size = Find<decltype(Nvrtc::code_size)>(library, "nvrtcGetCUBINSize"),
                       .code = Find<decltype(Nvrtc::code)>(library, "nvrtcGetCUBIN"),
                       .destroy = Find<decltype(Nvrtc::destroy)>(library, "nvrtcDestroyProgram")};
  if (nvrtc.create != nullptr) OpenBuiltins(reinterpret_cast<const void*>(nvrtc.create));
  return nvrtc;
}

template <typename Size, typename Get>
std::string TextOf(Nvrtc::Program program, Size size_of, Get get) {
  size_t size = 0;
  if (size_of(program, &size) != 0) return {};
  std::string text(size, '\0');
  if (get(program, text.data()) != 0) return {};
  return text;
}

// The driver's functions, as cuda.h declares them.
struct Driver {
  int (*device)(int* device, int ordinal);
  int (*attribute)(int* value, int attribute, int device);
  int (*retain_context)(void** context, int device);
  int (*push_context)(void* context);
  int (*pop_context)(void** context);
  int (*load)(void** module, const void* image);
  int (*function)(void** function, void* module, const char* name);
  int (*launch)(void* function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                unsigned block_z, unsigned shared_bytes, void* stream, void** arguments, void** extra);
  int (*error_text)(int error, const char** text);
};

const Driver& TheDriver() {
  static const Driver driver = [] {
    void* const library = Open({"libcuda.so.1"});
    return Driver{.device = Find<decltype(Driver::device)>(library, "cuDeviceGet"),
                  .attribute = Find<decltype(Driver::attribute)>(library, "cuDeviceGetAttribute"),
                  .retain_context = Find<decltype(Driver::retain_context)>(library, "cuDevicePrimaryCtxRetain"),
                  .push_context = Find<decltype(Driver::push_context)>(library, "cuCtxPushCurrent_v2"),
                  .pop_context = Find<decltype(Driver::pop_context)>(library, "cuCtxPopCurrent_v2"),
                  .load = Find<decltype(Driver::load)>(library, "cuModuleLoadData"),
                  .function = Find<decltype(Driver::function)>(library, "cuModuleGetFunction"),
                  .launch = Find<decltype(Driver::launch)>(library, "cuLaunchKernel"),
                  .error_text = Find<decltype(Driver::error_text)>(library, "cuGetErrorString")};
  }();
  return driver;
}

std::string ErrorText(int error) {
  const char* text = nullptr;
  if (TheDriver().error_text(error, &text) != 0 || text == nullptr) return absl::StrCat("error ", error);
  return text;
}

absl::Status OfDriver(int error, const char* what) {
  if (error == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(what, ": ", ErrorText(error)));
}

// Makes the context current in this thread and leaves it afterwards.
class Within {
 public:
  explicit Within(void* context) : error_(TheDriver().push_context(context)) {}
  ~Within() {
    void* left = nullptr;
    if (error_ == 0) TheDriver().pop_context(&left);
  }
  Within(const Within&) = delete;
  Within& operator=(const Within&) = delete;
  int error() const { return error_; }

 private:
  int error_;
};

// "sm_90".
absl::StatusOr<std::string> Architecture(int device) {
  constexpr int kMajor = 75, kMinor = 76;  // of CUdevice_attribute
  int major = 0, minor = 0;
  const int error = TheDriver().attribute(&major, kMajor, device) | TheDriver().attribute(&minor, kMinor, device);
  if (error != 0) return OfDriver(error, "the card's architecture");
  return absl::StrCat("sm_", major, minor);
}

}  // namespace

absl::StatusOr<std::string> CompileKernel(const KernelSource& source, const std::string& architecture) {
  static const Nvrtc nvrtc = OpenNvrtc();
  if (nvrtc.create == nullptr || nvrtc.destroy == nullptr) {
    return absl::FailedPreconditionError(
        "libnvrtc.so.13 cannot be opened: it comes with torch's CUDA libraries (nvidia-cuda-nvrtc); LD_LIBRARY_PATH "
        "names their folder");
  }
  std::vector<std::string> options = {"--gpu-architecture=" + architecture, "--std=c++17"};
  for (const std::string& macro : source.macros) options.push_back("-D" + macro);
  std::vector<const char*> words;
  for (const std::string& option : options) words.push_back(option.c_str());
  Nvrtc::Program program = nullptr;
  nvrtc.create(&program, source.text.c_str(), source.name.c_str(), 0, nullptr, nullptr);
  const int error = nvrtc.compile(program, static_cast<int>(words.size()), words.data());
  const std::string text =
      error == 0 ? TextOf(program, nvrtc.code_size, nvrtc.code) : TextOf(program, nvrtc.log_size, nvrtc.log);
  nvrtc.destroy(&program);
  if (error == 0) return text;
  return absl::FailedPreconditionError(
      absl::StrCat("NVRTC refuses ", source.name, " for ", architecture, ": ", text.c_str()));
}

absl::StatusOr<CudaKernel> CudaKernel::Load(c10::Device device, const KernelSource& source) {
  const Driver& driver = TheDriver();
  if (driver.launch == nullptr) return absl::FailedPreconditionError("libcuda.so.1, the driver, cannot be opened");
  int ordinal = 0;
  DIPTYCH_RETURN_IF_ERROR(OfDriver(driver.device(&ordinal, device.index()), "the card"));
  DIPTYCH_ASSIGN_OR_RETURN(const std::string architecture, Architecture(ordinal));
  DIPTYCH_ASSIGN_OR_RETURN(const std::string code, CompileKernel(source, architecture));
  void *context = nullptr, *module = nullptr, *function = nullptr;
  DIPTYCH_RETURN_IF_ERROR(OfDriver(driver.retain_context(&context, ordinal), "the card's context"));
  const Within within(context);
  DIPTYCH_RETURN_IF_ERROR(OfDriver(within.error(), "the card's context"));
  DIPTYCH_RETURN_IF_ERROR(OfDriver(driver.load(&module, code.data()), "loading a kernel"));
  DIPTYCH_RETURN_IF_ERROR(OfDriver(driver.function(&function, module, source.name.c_str()), "loading a kernel"));
  return CudaKernel(device, context, function);
}

void CudaKernel::Launch(const Grid& grid, std::span<void*> arguments) const {
  const Within within(context_);
  void* const stream = c10::impl::VirtualGuardImpl(device_.type()).getStream(device_).native_handle();
  const int error =
      within.error() != 0
          ? within.error()
          : TheDriver().launch(function_, static_cast<unsigned>(grid.x), static_cast<unsigned>(grid.y), 1,
                               static_cast<unsigned>(grid.threads), 1, 1, 0, stream, arguments.data(), nullptr);
  if (error == 0) return;
  throw c10::AcceleratorError({__func__, __FILE__, __LINE__}, error, "CUDA error: " + ErrorText(error));
}

}  // namespace diptych::blip2
