#include "blip2/cuda/step_recorder.h"

#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>

#include <array>
#include <cstddef>
#include <exception>
#include <memory>
#include <utility>

namespace diptych::blip2 {
namespace {

using PoolId = std::pair<unsigned long long, unsigned long long>;  // NOLINT(google-runtime-int): at::MempoolId_t

constexpr int kThisThreadAlone = 1;  // cudaStreamCaptureModeThreadLocal: others may go on using the card

// Of at::cuda::CUDAGraph. Found by their names, so that building needs nothing of CUDA; the names are those of libtorch
// 2.11 and 2.14.
struct GraphFunctions {
  void (*construct)(void* graph, bool keep_graph);
  void (*destroy)(void* graph);
  void (*begin)(void* graph, PoolId pool, int mode);
  void (*end)(void* graph);
  void (*replay)(void* graph);
  PoolId (*new_pool)();

  bool complete() const { return construct && destroy && begin && end && replay && new_pool; }
};

template <typename Function>
void Find(const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

const GraphFunctions& Functions() {
  static const GraphFunctions functions = [] {
    GraphFunctions found{};
    Find("_ZN2at4cuda9CUDAGraphC1Eb", found.construct);
    Find("_ZN2at4cuda9CUDAGraphD1Ev", found.destroy);
    Find("_ZN2at4cuda9CUDAGraph13capture_beginESt4pairIyyE21cudaStreamCaptureMode", found.begin);
    Find("_ZN2at4cuda9CUDAGraph11capture_endEv", found.end);
    Find("_ZN2at4cuda9CUDAGraph6replayEv", found.replay);
    Find("_ZN2at4cuda17graph_pool_handleEv", found.new_pool);
    return found;
  }();
  return functions;
}

class Graph {
 public:
  Graph() { Functions().construct(room_.data(), /*keep_graph=*/false); }
  ~Graph() { Functions().destroy(room_.data()); }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  void Record(const std::function<void()>& work, const PoolId& pool) {
    Functions().begin(room_.data(), pool, kThisThreadAlone);
    try {
      work();
    } catch (...) {
      Abandon();
      throw;
    }
    Functions().end(room_.data());
  }
  void Replay() { Functions().replay(room_.data()); }

 private:
  // Takes the stream out of recording. What it has to say about a recording that failed is known.
  void Abandon() {
    try {
      Functions().end(room_.data());
    } catch (const std::exception&) {
    }
  }

  alignas(64) std::array<std::byte, 4096> room_;  // libtorch's object takes a few hundred bytes
};

// On a stream of its own, as CUDA wants; the first run makes what libraries make once, which cannot be recorded.
std::shared_ptr<Graph> Record(c10::Device device, const std::function<void()>& work, const PoolId& pool) {
  const c10::impl::VirtualGuardImpl card(device.type());
  auto graph = std::make_unique<Graph>();
  card.synchronizeDevice(device.index());
  const c10::StreamGuard aside(card.getStreamFromGlobalPool(device));
  work();
  card.synchronizeDevice(device.index());
  try {
    graph->Record(work, pool);
  } catch (...) {
    (void)graph.release();  // libtorch 2.11's allocator may go on asking it
    throw;
  }
  return graph;
}

}  // namespace

absl::StatusOr<RecordStep> MakeCudaRecorder(c10::Device device) {
  if (!Functions().complete()) return absl::FailedPreconditionError("this libtorch has no CUDA graphs as we know them");
  return [device, pool = Functions().new_pool()](const std::function<void()>& work) -> std::function<void()> {
    return [graph = Record(device, work, pool)] { graph->Replay(); };
  };
}

}  // namespace diptych::blip2
