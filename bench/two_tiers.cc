// two_tiers [--model=models/demo] [--device=cpu] [--dtype=auto] [--rounds=300]: what it costs that the model is cut
// into two services. One question about one new image, answered by both engines in this process, by function calls, and
// by the two real services over gRPC on the loopback interface, in turn. Each way has caches of its own, and no round
// finds anything in them.
#include <c10/core/InferenceMode.h>
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "bench/median.h"
#include "common/grpc/call_context.h"
#include "common/requests/image_preparation.h"
#include "common/tiers/tier_process.h"
#include "diptych/v1/language.grpc.pb.h"
#include "language_service/engine/engine.h"
#include "language_service/engine/kv_cache_size.h"
#include "language_service/options.h"
#include "language_service/question_reader.h"
#include "tests/end_to_end/stack.h"
#include "vision_service/encoder.h"

ABSL_FLAG(int, rounds, 300, "Rounds of each length of answer");

namespace {

using namespace diptych;  // NOLINT
using Clock = std::chrono::steady_clock;
namespace stack = diptych::testing;

constexpr int kTokens[] = {1, 16};  // of an answer
constexpr int kWarmUps = 20;
constexpr int64_t kKvBytesOnCard = int64_t{1} << 30;  // three processes share the card

// 0: the default.
int64_t KvBytes() {
  return absl::GetFlag(FLAGS_device) == "cpu" ? 0 : kKvBytesOnCard;
}

// For a tier of either kind.
std::vector<std::string> Flags(std::vector<std::string> more = {}) {
  std::vector<std::string> flags = {"--model=" + absl::GetFlag(FLAGS_model), "--device=" + absl::GetFlag(FLAGS_device),
                                    "--dtype=" + absl::GetFlag(FLAGS_dtype)};
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

template <typename Options>
Options ModelOptions() {
  return {
      .model = absl::GetFlag(FLAGS_model), .device = absl::GetFlag(FLAGS_device), .dtype = absl::GetFlag(FLAGS_dtype)};
}

template <typename T>
T Must(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "two_tiers: %s\n", result.status().ToString().c_str());
  std::exit(1);
}

// Calls start(done) and waits until it has called done(StatusOr<T>).
template <typename T, typename Start>
T Await(const Start& start) {
  std::promise<absl::StatusOr<T>> promise;
  start([&promise](absl::StatusOr<T> result) { promise.set_value(std::move(result)); });
  return Must(promise.get_future().get());
}

// Both tiers' work as functions of one process, in the order of the language tier's Generate.
class OneProcess {
 public:
  OneProcess()
      : vision_model_(Must(vision::LoadVisionModel(ModelOptions<vision::VisionOptions>()))),
        language_model_(Must(language::LoadLanguageModel(ModelOptions<language::LanguageOptions>()))),
        encoder_(ModelOptions<vision::VisionOptions>(), vision_model_),
        engine_(language_model_, Must(language::AllocateKvCache(language_model_, KvBytes())), {}) {}

  void Ask(const v1::GenerateRequest& request) {
    const auto call = std::make_shared<CallContext>(SteadyTime::max());
    language::GenerateInput input = Must(language::ReadQuestion(request, language_model_, {}));
    std::vector<std::shared_ptr<const language::QueryTokens>> images;
    for (language::ImageRequest& image : input.images) images.push_back(Project(image));
    std::shared_ptr<language::TokenStream> stream;
    Await<language::GenerateResult>([&](auto done) {
      stream = std::make_shared<language::TokenStream>(
          language::TokenStream::Reader{.on_delta = [&stream](const auto&) { stream->Next(); }, .on_end = done});
      stream->Next();
      engine_.Submit({.prompt = std::move(input.prompt),
                      .options = input.options,
                      .images = std::move(images),
                      .cache_salt = input.cache_salt,
                      .clock = StageClock(SteadyClock::now()),
                      .call = call,
                      .stream = stream});
    });
  }

 private:
  std::shared_ptr<const language::QueryTokens> Project(language::ImageRequest& image) {
    const vision::EncodeResult encoded = Encode(image.message);
    language::VisualTokens tokens{.bytes = std::string(encoded.image->bytes()),
                                  .dtype = encoded.image->dtype(),
                                  .tokens = encoded.image->tokens(),
                                  .width = encoded.image->width(),
                                  .timings = {}};
    return Await<std::shared_ptr<const language::QueryTokens>>([&](auto done) {
      engine_.Project(std::move(tokens), image.expected.image_key, /*with_attention=*/false, done);
    });
  }

  vision::EncodeResult Encode(v1::EncodeImageRequest& request) {
    const v1::ModelDescription& model = vision_model_.description;
    const ImagePreparation preparation =
        Must(PrepareImageOptions(request.options(), "options", model.patch_size(), model.image_size()));
    return Await<vision::EncodeResult>([&](auto done) {
      const absl::Status status =
          encoder_.Encode({.encoded = request.image(),
                           .preparation = preparation,
                           .memory = Must(encoder_.memory().Take(static_cast<int64_t>(request.image().size()))),
                           .cache_salt = request.cache_salt()},
                          std::make_shared<vision::EncodeWaiter>(vision::EncodeWaiter{
                              .arrival = SteadyClock::now(), .deadline = SteadyTime::max(), .done = done}));
      if (!status.ok()) done(status);
    });
  }

  const vision::ServedVisionModel vision_model_;
  const language::ServedLanguageModel language_model_;
  vision::Encoder encoder_;
  language::LanguageEngine engine_;
};

// The real services.
class TwoTiers {
 public:
  TwoTiers()
      : vision_(stack::BinaryPath("vision_service"), Flags()),
        language_(stack::BinaryPath("language_service"), Flags({"--vision_target=ipv4:" + vision_.address(),
                                                                "--kv_cache_bytes=" + std::to_string(KvBytes())})),
        stub_(v1::LanguageService::NewStub(
            grpc::CreateChannel("ipv4:" + language_.address(), grpc::InsecureChannelCredentials()))) {}

  void Ask(const v1::GenerateRequest& request) {
    grpc::ClientContext context;
    const auto reader = stub_->Generate(&context, request);
    for (v1::GenerateResponse message; reader->Read(&message);) {
    }
    if (const grpc::Status status = reader->Finish(); !status.ok()) {
      Must<int>(absl::InternalError(status.error_message()));
    }
  }

 private:
  stack::ServerProcess vision_;
  stack::ServerProcess language_;
  const std::unique_ptr<v1::LanguageService::Stub> stub_;
};

// The salt makes it new to every cache.
v1::GenerateRequest Request(int tokens) {
  static int asked = 0;
  v1::GenerateRequest request;
  *request.mutable_question() =
      stack::QuestionAbout(stack::Sample("red_circle_blue_star.png"), "Question: What is in the image? Answer:");
  request.mutable_question()->mutable_generation()->set_max_new_tokens(tokens);
  request.mutable_question()->mutable_generation()->set_min_new_tokens(tokens);
  request.set_cache_salt("round " + std::to_string(++asked));
  return request;
}

template <typename Way>
double Milliseconds(Way& way, const v1::GenerateRequest& request) {
  const auto begin = Clock::now();
  way.Ask(request);
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

void Compare(OneProcess& one, TwoTiers& two, int tokens, int rounds) {
  std::vector<double> times_of_one, times_of_two;
  for (int round = -std::min(kWarmUps, rounds); round < rounds; ++round) {
    const double of_one = Milliseconds(one, Request(tokens)), of_two = Milliseconds(two, Request(tokens));
    if (round < 0) continue;
    times_of_one.push_back(of_one);
    times_of_two.push_back(of_two);
  }
  std::printf("| %d | %.2f | %.2f | %+.2f |\n", tokens, Median(times_of_one), Median(times_of_two),
              Median(times_of_two) - Median(times_of_one));
}

}  // namespace

int main(int argc, char** argv) {
  KeepFreedMemory();
  absl::ParseCommandLine(argc, argv);
  const int rounds = absl::GetFlag(FLAGS_rounds);
  OneProcess one;
  TwoTiers two;
  std::printf("| tokens of the answer | one process, p50 (ms) | two tiers, p50 (ms) | more |\n|---|---|---|---|\n");
  for (const int tokens : kTokens) Compare(one, two, tokens, rounds);
  return 0;
}
