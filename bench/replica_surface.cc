// replica_surface VISION LANGUAGE QUESTIONS_PER_SECOND [QUESTIONS [SEED]]: the real services, so many replicas of each
// tier behind two gateways, all in this process, whose passes and steps take calibrated times: the demo model's, filled
// up by sleeping. So few cores hold many replicas, and queues, batches and balancing are the real ones. Questions with
// a new image each arrive at random moments. Prints one JSON object, with the names and units of `diptych plan-capacity
// --json`; tools/capacity/measured.py compares them.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/mutex.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "gateway/server.h"
#include "language_service/server.h"
#include "tests/testing/sample_images.h"
#include "vision_service/server.h"

namespace {

using namespace diptych;  // NOLINT
using Clock = std::chrono::steady_clock;

constexpr char kModel[] = "models/demo";
// A quarter of what blip2-opt-2.7b takes in int8 on two cores: docs/scaling.md.
constexpr double kImageSeconds = 0.225, kStepSeconds = 0.0235, kTokenSeconds = 0.0015, kQFormerSeconds = 0.025;
constexpr int kNewTokens = 32, kGateways = 2, kLargestSide = 8192;

// Does the work and then waits until it has taken that long. What the engine's thread does between two passes is part
// of the second, so that a busy machine does not make them longer. Counts what took longer by itself, and notes how
// late the latest ended.
constexpr auto kBetweenPasses = std::chrono::milliseconds(15);  // more: the engine had nothing to do
std::atomic<int> overruns = 0, passes = 0;
std::atomic<double> latest = 0;  // seconds
template <typename Work>
auto Lasting(double seconds, Work&& work) {
  thread_local Clock::time_point last_end;
  const auto now = Clock::now();
  const auto begin = now - last_end < kBetweenPasses ? last_end : now;
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  auto result = work();
  ++passes;
  if (Clock::now() > end) ++overruns;
  std::this_thread::sleep_until(end);
  const double late = std::chrono::duration<double>(Clock::now() - end).count();
  for (double seen = latest; late > seen && !latest.compare_exchange_weak(seen, late);) continue;
  last_end = end;
  return result;
}

// Ends the program with the error of a service that does not start.
template <typename Value>
Value OrDie(absl::StatusOr<Value> value) {
  if (value.ok()) return *std::move(value);
  std::fprintf(stderr, "%s\n", value.status().ToString().c_str());
  std::exit(1);
}

std::unique_ptr<vision::VisionServer> StartVision() {
  vision::VisionOptions options;
  options.model = kModel;
  options.listen = "127.0.0.1:0";
  options.threads = 1;
  options.queue_limit = 4096;
  vision::ServedVisionModel model = OrDie(vision::LoadVisionModel(options));
  model.encode = [encode = model.encode](const at::Tensor& pixels, int merging) {
    return Lasting(kImageSeconds * static_cast<double>(pixels.size(0)), [&] { return encode(pixels, merging); });
  };
  return OrDie(vision::VisionServer::Start(options, std::move(model)));
}

std::unique_ptr<language::LanguageServer> StartLanguage(const std::string& vision_target) {
  language::LanguageOptions options;
  options.model = kModel;
  options.listen = "127.0.0.1:0";
  options.vision_target = vision_target;
  options.threads = 1;
  options.queue_limit = 4096;
  language::ServedLanguageModel model = OrDie(language::LoadLanguageModel(options));
  model.project = [project = model.project](const at::Tensor& tokens) {
    return Lasting(kQFormerSeconds, [&] { return project(tokens); });
  };
  model.forward = [forward = model.forward](std::span<const blip2::DecoderRow> rows, blip2::KvPool& pool) {
    const int64_t tokens = std::accumulate(rows.begin(), rows.end(), int64_t{0},
                                           [](int64_t sum, const auto& row) { return sum + row.embeddings.size(0); });
    return Lasting(kStepSeconds + kTokenSeconds * static_cast<double>(tokens), [&] { return forward(rows, pool); });
  };
  return OrDie(language::LanguageServer::Start(options, std::move(model)));
}

std::unique_ptr<gateway::GatewayServer> StartGateway(const std::string& vision, const std::string& language) {
  gateway::Options options;
  options.listen = "127.0.0.1:0";
  options.vision_target = vision;
  options.language_target = language;
  options.max_inflight = 4096;
  return OrDie(gateway::GatewayServer::Start(options));
}

template <typename Server>
std::string TargetOf(const std::vector<std::unique_ptr<Server>>& servers) {
  const auto address = [](std::string* out, const auto& server) {
    *out += "127.0.0.1:" + std::to_string(server->port());
  };
  return "ipv4:" + absl::StrJoin(servers, ",", address);
}

// Thread-safe.
struct Measured {
  explicit Measured(int questions) : missing(questions) {}
  Mutex mutex;
  std::vector<double> first_token ABSL_GUARDED_BY(mutex), answer ABSL_GUARDED_BY(mutex),
      prompt_tokens ABSL_GUARDED_BY(mutex);
  int failed ABSL_GUARDED_BY(mutex) = 0;
  std::latch missing;
};

// Reads one answer and notes its times. Deletes itself.
class Caller final : public grpc::ClientReadReactor<v1::AskStreamResponse> {
 public:
  Caller(v1::GatewayService::Stub& stub, v1::AskStreamRequest request, Measured& measured)
      : request_(std::move(request)), measured_(measured) {
    stub.async()->AskStream(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.has_delta() && first_token_ == 0) first_token_ = Seconds();
    if (response_.has_finished()) prompt_tokens_ = response_.finished().usage().prompt_tokens();
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
    {
      const MutexLock lock(measured_.mutex);
      measured_.failed += status.ok() ? 0 : 1;
      measured_.first_token.push_back(first_token_);
      measured_.answer.push_back(Seconds());
      measured_.prompt_tokens.push_back(prompt_tokens_);
    }
    measured_.missing.count_down();
    delete this;
  }

 private:
  double Seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

  const Clock::time_point begin_ = Clock::now();
  grpc::ClientContext context_;
  const v1::AskStreamRequest request_;
  v1::AskStreamResponse response_;
  double first_token_ = 0, prompt_tokens_ = 0;
  Measured& measured_;
};

// About the same image under another key each time, so that no cache holds it.
v1::AskStreamRequest NewQuestion(int number) {
  static const std::string image = testing::GoodPng();
  v1::AskStreamRequest request;
  v1::Question& question = *request.mutable_question();
  question.add_images()->set_data(image);
  question.mutable_image_options()->set_max_side(kLargestSide - number % (kLargestSide / 2));
  question.set_prompt("Question: What color is the circle? Answer:");
  question.mutable_generation()->set_max_new_tokens(kNewTokens);
  question.mutable_generation()->set_ignore_eos(true);
  return request;
}

double Mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

void PrintSeconds(std::FILE* out, const char* name, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  std::fprintf(out, "\"%s\": {\"mean\": %.4f, \"p50\": %.4f, \"p95\": %.4f}, ", name, Mean(values),
               values[values.size() / 2], values[values.size() * 95 / 100]);
}

}  // namespace

int main(int argc, char** argv) {
  const int vision_replicas = argc > 1 ? std::atoi(argv[1]) : 0, language_replicas = argc > 2 ? std::atoi(argv[2]) : 0;
  const double per_second = argc > 3 ? std::atof(argv[3]) : 0;
  const int questions = argc > 4 ? std::atoi(argv[4]) : 1000;
  const int seed = argc > 5 ? std::atoi(argv[5]) : 1;
  if (vision_replicas < 1 || language_replicas < 1 || per_second <= 0 || questions < 1) {
    std::fprintf(stderr, "replica_surface VISION LANGUAGE QUESTIONS_PER_SECOND [QUESTIONS [SEED]]: each above 0\n");
    return 2;
  }
  std::FILE* const out = fdopen(dup(STDOUT_FILENO), "w");
  if (std::freopen("/dev/null", "w", stdout) == nullptr) return 1;  // there goes a log line for each call
  std::vector<std::unique_ptr<vision::VisionServer>> vision;
  for (int i = 0; i < vision_replicas; ++i) vision.push_back(StartVision());
  std::vector<std::unique_ptr<language::LanguageServer>> language;
  for (int i = 0; i < language_replicas; ++i) language.push_back(StartLanguage(TargetOf(vision)));
  std::vector<std::unique_ptr<gateway::GatewayServer>> gateways;
  std::vector<std::unique_ptr<v1::GatewayService::Stub>> stubs;
  for (int i = 0; i < kGateways; ++i) {
    gateways.push_back(StartGateway(TargetOf(vision), TargetOf(language)));
    stubs.push_back(v1::GatewayService::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + std::to_string(gateways.back()->port()), grpc::InsecureChannelCredentials())));
  }
  std::this_thread::sleep_for(std::chrono::seconds(2));  // all connections stand
  Measured measured(questions);
  std::mt19937 random(seed);
  std::exponential_distribution<> gap(per_second);
  auto next = Clock::now();
  for (int i = 0; i < questions; ++i) {
    new Caller(*stubs[random() % kGateways], NewQuestion(i), measured);
    next += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(gap(random)));
    std::this_thread::sleep_until(next);
  }
  measured.missing.wait();
  const MutexLock lock(measured.mutex);
  std::fprintf(out, "{");
  PrintSeconds(out, "first_token_seconds", measured.first_token);
  PrintSeconds(out, "answer_seconds", measured.answer);
  std::fprintf(out,
               "\"prompt_tokens\": %.0f, \"failed\": %d, \"overruns\": %d, \"passes\": %d, \"latest_seconds\": %.3f}\n",
               Mean(measured.prompt_tokens), measured.failed, overruns.load(), passes.load(), latest.load());
  std::fclose(out);
  return measured.failed == 0 ? 0 : 1;
}
