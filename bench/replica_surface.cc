// replica_surface VISION LANGUAGE QUESTIONS_PER_SECOND [QUESTIONS [SEED]]: the real services, so many replicas of each
// tier behind two gateways, all in this process, whose passes and steps take calibrated times: the demo model's, filled
// up by sleeping. So few cores hold many replicas, and queues, batches and balancing are the real ones. Questions with
// a new image each arrive at random moments, or, at 0 a second, each when the one before has been answered. A fifth as
// many come before those that count, and more until all of these are answered. Prints one JSON object, with the names
// and units of `diptych plan-capacity --json` and all arrivals; tools/capacity/measured.py compares them.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_join.h"
#include "common/mutex.h"
#include "common/tiers/tier_defaults.h"
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
constexpr int kVisualTokens = 257, kNewTokens = 32, kGateways = 2, kLargestSide = 8192;

double SecondsSince(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// Does the work and then waits until it has taken that long. What the engine's thread does between two passes is part
// of the second, so that a busy machine does not make them longer. Counts what took longer by itself, and notes how
// late the latest ended.
constexpr auto kBetweenPasses = std::chrono::milliseconds(15);  // more: the engine had nothing to do
std::atomic<int> overruns = 0, passes = 0;
std::atomic<double> latest = 0;           // seconds
thread_local Clock::time_point last_end;  // of any pass of this thread
template <typename Work>
auto Lasting(double seconds, Work&& work) {
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
  options.max_batch = tier_defaults::VisionBatch("cpu", kVisualTokens);
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

// Seconds since the first question came.
struct Asked {
  double arrival = 0;
  int gateway = 0;
};

// Outcomes of the questions that count. Thread-safe.
class Measured {
 public:
  void Begin(bool counts) {
    const MutexLock lock(mutex_);
    ++inside_;
    missing_ += counts ? 1 : 0;
  }
  void End(bool counts, double first_token, double answer, double prompt_tokens, bool ok) {
    const MutexLock lock(mutex_);
    --inside_;
    failed_ += ok ? 0 : 1;
    if (counts) {
      --missing_;
      first_token_.push_back(first_token);
      answer_.push_back(answer);
      prompt_tokens_.push_back(prompt_tokens);
    }
    ended_.NotifyAll();
  }
  bool Missing() {
    const MutexLock lock(mutex_);
    return missing_ > 0;
  }
  void WaitForAll() {
    MutexLock lock(mutex_);
    while (inside_ > 0) ended_.Wait(lock);
  }

  // Returns how many failed.
  int Print(std::FILE* out);

 private:
  Mutex mutex_;
  CondVar ended_;
  std::vector<double> first_token_ ABSL_GUARDED_BY(mutex_), answer_ ABSL_GUARDED_BY(mutex_),
      prompt_tokens_ ABSL_GUARDED_BY(mutex_);
  int inside_ ABSL_GUARDED_BY(mutex_) = 0, missing_ ABSL_GUARDED_BY(mutex_) = 0, failed_ ABSL_GUARDED_BY(mutex_) = 0;
};

// Reads one answer and notes its times. Deletes itself.
class Caller final : public grpc::ClientReadReactor<v1::AskStreamResponse> {
 public:
  Caller(v1::GatewayService::Stub& stub, v1::AskStreamRequest request, bool counts, Measured& measured)
      : request_(std::move(request)), counts_(counts), measured_(measured) {
    measured_.Begin(counts);
    stub.async()->AskStream(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    if (response_.has_delta() && first_token_ == 0) first_token_ = SecondsSince(begin_);
    if (response_.has_finished()) prompt_tokens_ = response_.finished().usage().prompt_tokens();
    StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
    measured_.End(counts_, first_token_, SecondsSince(begin_), prompt_tokens_, status.ok());
    delete this;
  }

 private:
  const Clock::time_point begin_ = Clock::now();
  grpc::ClientContext context_;
  const v1::AskStreamRequest request_;
  v1::AskStreamResponse response_;
  const bool counts_;
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

int Measured::Print(std::FILE* out) {
  const MutexLock lock(mutex_);
  PrintSeconds(out, "first_token_seconds", first_token_);
  PrintSeconds(out, "answer_seconds", answer_);
  std::fprintf(out, "\"prompt_tokens\": %.0f, \"failed\": %d, ", Mean(prompt_tokens_), failed_);
  return failed_;
}

// All replicas and gateways, connected.
class Deployment {
 public:
  Deployment(int vision_replicas, int language_replicas) {
    for (int i = 0; i < vision_replicas; ++i) vision_.push_back(StartVision());
    const std::string vision = TargetOf(vision_);
    for (int i = 0; i < language_replicas; ++i) language_.push_back(StartLanguage(vision));
    for (int i = 0; i < kGateways; ++i) {
      gateways_.push_back(StartGateway(vision, TargetOf(language_)));
      stubs_.push_back(v1::GatewayService::NewStub(grpc::CreateChannel(
          "127.0.0.1:" + std::to_string(gateways_.back()->port()), grpc::InsecureChannelCredentials())));
    }
    std::this_thread::sleep_for(std::chrono::seconds(2));  // all connections stand
  }
  v1::GatewayService::Stub& gateway(int number) { return *stubs_[number]; }

 private:
  std::vector<std::unique_ptr<vision::VisionServer>> vision_;
  std::vector<std::unique_ptr<language::LanguageServer>> language_;
  std::vector<std::unique_ptr<gateway::GatewayServer>> gateways_;
  std::vector<std::unique_ptr<v1::GatewayService::Stub>> stubs_;
};

// Questions `before` and `questions` that count, and others until these are answered.
std::vector<Asked> Ask(Deployment& deployment, double per_second, int before, int questions, int seed,
                       Measured& measured) {
  std::vector<Asked> asked;
  std::mt19937 random(seed);
  std::exponential_distribution<> gap(std::max(per_second, 1.0));
  const auto start = Clock::now();
  auto next = start;
  for (int i = 0; i < before + questions || measured.Missing(); ++i) {
    asked.push_back({SecondsSince(start), static_cast<int>(random() % kGateways)});
    const bool counts = i >= before && i < before + questions;
    new Caller(deployment.gateway(asked.back().gateway), NewQuestion(i), counts, measured);
    if (per_second <= 0) {
      measured.WaitForAll();
      continue;
    }
    next += std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(gap(random)));
    std::this_thread::sleep_until(next);
  }
  measured.WaitForAll();
  return asked;
}

}  // namespace

int main(int argc, char** argv) {
  const int vision_replicas = argc > 1 ? std::atoi(argv[1]) : 0, language_replicas = argc > 2 ? std::atoi(argv[2]) : 0;
  const double per_second = argc > 3 ? std::atof(argv[3]) : -1;
  const int questions = argc > 4 ? std::atoi(argv[4]) : 1000;
  const int seed = argc > 5 ? std::atoi(argv[5]) : 1;
  if (vision_replicas < 1 || language_replicas < 1 || per_second < 0 || questions < 1) {
    std::fprintf(stderr,
                 "replica_surface VISION LANGUAGE QUESTIONS_PER_SECOND [QUESTIONS [SEED]]: no number below 0\n");
    return 2;
  }
  std::FILE* const out = fdopen(dup(STDOUT_FILENO), "w");
  if (std::freopen("/dev/null", "w", stdout) == nullptr) return 1;  // there goes a log line for each call
  Deployment deployment(vision_replicas, language_replicas);
  Measured measured;
  const int before = (questions + 4) / 5;
  const std::vector<Asked> asked = Ask(deployment, per_second, before, questions, seed, measured);
  std::fprintf(out, "{");
  const int failed = measured.Print(out);
  std::fprintf(out, "\"overruns\": %d, \"passes\": %d, \"latest_seconds\": %.3f, ", overruns.load(), passes.load(),
               latest.load());
  std::fprintf(out, "\"counted\": [%d, %d], \"arrivals\": [", before, before + questions);
  for (const Asked& one : asked) {
    std::fprintf(out, "%s[%.4f, %d]", &one == asked.data() ? "" : ", ", one.arrival, one.gateway);
  }
  std::fprintf(out, "]}\n");
  std::fclose(out);
  return failed == 0 ? 0 : 1;
}
