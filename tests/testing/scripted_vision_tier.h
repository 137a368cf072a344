// A vision tier that answers as a test tells it to, rogue answers included.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/grpc/server.h"
#include "diptych/v1/vision.grpc.pb.h"

namespace diptych::testing {

// What one EncodeImage call gets.
struct ScriptedAnswer {
  std::vector<v1::EncodeImageResponse> messages = {};
  grpc::Status status = {};  // after the last message
  bool never_ends = false;   // after the last message: nothing, until the caller cancels
};

// A true answer for a model whose visual tokens are [tokens, width] float32 at `image_size` pixels: the numbers follow
// from the image's bytes.
ScriptedAnswer TrueAnswer(const v1::EncodeImageRequest& request, int tokens, int width, int image_size);

// Listens on a port of its own from construction to destruction. Thread-safe.
class ScriptedVisionTier {
 public:
  // `call` is 0 for the first EncodeImage of this object.
  using Answer = std::function<ScriptedAnswer(const v1::EncodeImageRequest& request, int call)>;

  // Ends the test program if it cannot listen on `address`.
  explicit ScriptedVisionTier(Answer answer, const std::string& address = "127.0.0.1:0");
  ~ScriptedVisionTier();

  std::string target() const;
  int port() const;
  int calls() const;
  // Each waits a minute at most and says whether it came to pass.
  // `count` calls have come.
  [[nodiscard]] bool AwaitCalls(int count);
  // Callers have cancelled `count` calls that never end.
  [[nodiscard]] bool AwaitCancels(int count);

 private:
  class Service;
  std::unique_ptr<Service> service_;
  std::unique_ptr<GrpcServer> server_;
};

}  // namespace diptych::testing
