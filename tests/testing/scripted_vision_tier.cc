#include "tests/testing/scripted_vision_tier.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/hash.h"
#include "common/requests/image_preparation.h"
#include "common/tiers/visual_tokens.h"

namespace diptych::testing {

ScriptedAnswer TrueAnswer(const v1::EncodeImageRequest& request, int tokens, int width, int image_size) {
  const size_t count = static_cast<size_t>(tokens) * width;
  const uint32_t seed = Crc32c(request.image());
  std::string bytes(4 * count, '\0');
  for (size_t i = 0; i < count; ++i) {
    const float number = static_cast<float>((seed + 31 * i) % 199) / 100.0f - 1.0f;
    std::memcpy(bytes.data() + 4 * i, &number, 4);
  }
  // Two chunks at least, so that their order can be wrong.
  const size_t chunk_bytes = std::min(kMaxChunkBytes, (bytes.size() + 1) / 2);
  const auto chunks = static_cast<int>((bytes.size() + chunk_bytes - 1) / chunk_bytes);
  ScriptedAnswer answer{.messages = std::vector<v1::EncodeImageResponse>(chunks + 2)};
  v1::VisualTokensHeader& header = *answer.messages.front().mutable_header();
  header.set_model_fingerprint(request.model_fingerprint());
  header.set_cut(v1::CUT_VIT);
  header.set_dtype(v1::NUMBER_TYPE_FLOAT32);
  header.set_tokens(tokens);
  header.set_width(width);
  header.set_image_key(ImageKey(request.image(), {.image_size = image_size, .max_side = request.options().max_side()},
                                request.model_fingerprint(), request.cache_salt()));
  header.set_pixel_height(image_size);
  header.set_pixel_width(image_size);
  header.set_chunk_count(chunks);
  for (int i = 0; i < chunks; ++i) {
    v1::VisualTokensChunk& chunk = *answer.messages[i + 1].mutable_chunk();
    chunk.set_index(i);
    chunk.set_data(bytes.substr(i * chunk_bytes, chunk_bytes));
    chunk.set_crc32c(Crc32c(chunk.data()));
  }
  answer.messages.back().mutable_trailer()->set_total_bytes(static_cast<int64_t>(bytes.size()));
  return answer;
}

class ScriptedVisionTier::Service final : public v1::VisionService::CallbackService {
 public:
  explicit Service(Answer answer) : answer_(std::move(answer)) {}

  grpc::ServerWriteReactor<v1::EncodeImageResponse>* EncodeImage(grpc::CallbackServerContext* /*context*/,
                                                                 const v1::EncodeImageRequest* request) override {
    return new Call(*this, answer_(*request, Count(calls_)));
  }

  int calls() {
    std::lock_guard lock(mutex_);
    return calls_;
  }

  bool AwaitCalls(int count) { return Await(calls_, count); }
  bool AwaitCancels(int count) { return Await(cancels_, count); }

 private:
  class Call final : public grpc::ServerWriteReactor<v1::EncodeImageResponse> {
   public:
    Call(Service& service, ScriptedAnswer answer) : service_(service), answer_(std::move(answer)) { Go(true); }
    void OnWriteDone(bool ok) override { Go(ok); }
    void OnDone() override { delete this; }
    void OnCancel() override {
      if (!answer_.never_ends) return;
      service_.Count(service_.cancels_);
      Finish(grpc::Status::CANCELLED);
    }

   private:
    void Go(bool ok) {
      if (ok && next_ < answer_.messages.size()) return StartWrite(&answer_.messages[next_++]);
      if (!answer_.never_ends) Finish(answer_.status);
    }

    Service& service_;
    ScriptedAnswer answer_;
    size_t next_ = 0;
  };

  // Returns the count before.
  int Count(int& counter) {
    std::lock_guard lock(mutex_);
    changed_.notify_all();
    return counter++;
  }

  bool Await(const int& counter, int count) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::minutes(1), [&] { return counter >= count; });
  }

  const Answer answer_;
  std::mutex mutex_;
  std::condition_variable changed_;
  int calls_ = 0;
  int cancels_ = 0;
};

ScriptedVisionTier::ScriptedVisionTier(Answer answer, const std::string& address)
    : service_(std::make_unique<Service>(std::move(answer))) {
  auto server = GrpcServer::Start({.service_name = v1::VisionService::service_full_name(),
                                   .listen = address,
                                   .tls = {},
                                   .max_receive_bytes = 64 << 20},
                                  {service_.get()});
  if (!server.ok()) {
    std::fprintf(stderr, "ScriptedVisionTier: %s\n", server.status().ToString().c_str());
    std::abort();
  }
  server_ = *std::move(server);
  server_->SetReady(absl::OkStatus());
}

ScriptedVisionTier::~ScriptedVisionTier() = default;

std::string ScriptedVisionTier::target() const {
  return absl::StrCat("ipv4:127.0.0.1:", port());
}

int ScriptedVisionTier::port() const {
  return server_->port();
}

int ScriptedVisionTier::calls() const {
  return service_->calls();
}

bool ScriptedVisionTier::AwaitCalls(int count) {
  return service_->AwaitCalls(count);
}

bool ScriptedVisionTier::AwaitCancels(int count) {
  return service_->AwaitCancels(count);
}

}  // namespace diptych::testing
