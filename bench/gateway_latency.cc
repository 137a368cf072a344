// gateway_latency [SECONDS]: what the gateway adds. A language service that answers at once is behind a real
// gateway, all in this process; each figure is taken directly and through the gateway in turn, in the same run, over
// sockets.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/grpc/server.h"
#include "common/logging/log.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "diptych/v1/language.grpc.pb.h"
#include "gateway/server.h"
#include "tests/testing/fake_tiers.h"
#include "tests/testing/sample_images.h"

namespace {

using namespace diptych;  // NOLINT
using Clock = std::chrono::steady_clock;

constexpr int kRounds = 2000;
constexpr int kCallers = 8;

// Says started, one delta and finished.
class NullStream final : public grpc::ServerWriteReactor<v1::GenerateResponse> {
 public:
  NullStream() { OnWriteDone(true); }

 private:
  void OnWriteDone(bool ok) override {
    if (!ok || next_ == 3) return Finish(grpc::Status::OK);
    StartWrite(&messages_[next_++]);
  }
  void OnDone() override { delete this; }

  const std::vector<v1::GenerateResponse> messages_ = {testing::StartedMessage(), testing::DeltaMessage("red", 5),
                                                       testing::FinishedMessage("red")};
  size_t next_ = 0;
};

class NullLanguage final : public v1::LanguageService::CallbackService {
  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(grpc::CallbackServerContext*,
                                                           const v1::GenerateRequest*) override {
    return new NullStream;
  }
  grpc::ServerUnaryReactor* GetLanguageModel(grpc::CallbackServerContext* context, const v1::GetLanguageModelRequest*,
                                             v1::GetLanguageModelResponse* response) override {
    *response->mutable_model() = testing::FakeLanguageModel();
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

v1::Question QuestionAbout(const std::string& image) {
  v1::Question question;
  question.set_prompt("Question: What color is the circle? Answer:");
  if (!image.empty()) question.add_images()->set_data(image);
  return question;
}

using Call = std::function<bool()>;

Call Direct(const std::shared_ptr<grpc::Channel>& channel, const v1::Question& question) {
  v1::GenerateRequest request;
  *request.mutable_question() = question;
  return [stub = std::shared_ptr(v1::LanguageService::NewStub(channel)), request] {
    grpc::ClientContext context;
    const auto reader = stub->Generate(&context, request);
    for (v1::GenerateResponse message; reader->Read(&message);) {
    }
    return reader->Finish().ok();
  };
}

Call Streamed(const std::shared_ptr<grpc::Channel>& channel, const v1::Question& question) {
  v1::AskStreamRequest request;
  *request.mutable_question() = question;
  return [stub = std::shared_ptr(v1::GatewayService::NewStub(channel)), request] {
    grpc::ClientContext context;
    const auto reader = stub->AskStream(&context, request);
    for (v1::AskStreamResponse message; reader->Read(&message);) {
    }
    return reader->Finish().ok();
  };
}

Call Unary(const std::shared_ptr<grpc::Channel>& channel, const v1::Question& question) {
  v1::AskRequest request;
  *request.mutable_question() = question;
  return [stub = std::shared_ptr(v1::GatewayService::NewStub(channel)), request] {
    grpc::ClientContext context;
    v1::AskResponse response;
    return stub->Ask(&context, request, &response).ok();
  };
}

double Milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

double Percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(share * static_cast<double>(values.size() - 1))];
}

// One caller, the ways in turn, so that what else the machine does meets all of them alike.
void CompareLatency(const char* what, const std::vector<std::pair<const char*, Call>>& ways) {
  std::vector<std::vector<double>> times(ways.size());
  for (int round = 0; round < kRounds; ++round) {
    for (size_t way = 0; way < ways.size(); ++way) {
      const auto begin = Clock::now();
      if (!ways[way].second()) {
        std::fprintf(stderr, "%s, %s: the call failed\n", what, ways[way].first);
        std::exit(1);
      }
      times[way].push_back(Milliseconds(Clock::now() - begin));
    }
  }
  for (size_t way = 0; way < ways.size(); ++way) {
    std::printf("| %s, %s | %.2f | %.2f | %+.2f |\n", what, ways[way].first, Percentile(times[way], 0.5),
                Percentile(times[way], 0.99), Percentile(times[way], 0.5) - Percentile(times[0], 0.5));
  }
}

void Throughput(const char* name, const Call& call, double seconds) {
  std::atomic<int> answered = 0, failed = 0;
  const auto end = Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      while (Clock::now() < end) ++(call() ? answered : failed);
    });
  }
  for (std::thread& caller : callers) caller.join();
  std::printf("| %s | %.0f | %d |\n", name, answered / seconds, failed.load());
}

}  // namespace

int main(int argc, char** argv) {
  const double seconds = argc > 1 ? std::atof(argv[1]) : 5;
  spdlog::set_level(spdlog::level::off);
  NullLanguage language;
  testing::FakeVisionTier vision;
  auto tier = GrpcServer::Start(
      {.service_name = v1::LanguageService::service_full_name(), .max_receive_bytes = 64 << 20}, {&language});
  if (!tier.ok()) return 1;
  (*tier)->SetReady(absl::OkStatus());
  gateway::Options options;
  options.listen = "127.0.0.1:0";
  options.language_target = "127.0.0.1:" + std::to_string((*tier)->port());
  options.vision_target = vision.target();
  const auto gateway = gateway::GatewayServer::Start(options);
  if (!gateway.ok()) return 1;
  const auto channel_to = [](int port) {
    return grpc::CreateChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials());
  };
  const auto direct = channel_to((*tier)->port()), through = channel_to((*gateway)->port());
  const std::string image = testing::GoodPng();
  for (const Call& warm : {Direct(direct, QuestionAbout("")), Unary(through, QuestionAbout(""))}) {
    for (int i = 0; i < 200; ++i) warm();
  }
  std::printf("| one caller | p50 (ms) | p99 (ms) | p50 over direct (ms) |\n|---|---|---|---|\n");
  for (const auto& [what, bytes] : {std::pair("text", std::string()), std::pair("image", image)}) {
    const v1::Question question = QuestionAbout(bytes);
    CompareLatency(what, {{"direct", Direct(direct, question)},
                          {"AskStream", Streamed(through, question)},
                          {"Ask", Unary(through, question)}});
  }
  std::printf("\n| %d callers | requests/s | failed |\n|---|---|---|\n", kCallers);
  Throughput("direct", Direct(direct, QuestionAbout("")), seconds);
  Throughput("AskStream", Streamed(through, QuestionAbout("")), seconds);
  Throughput("Ask", Unary(through, QuestionAbout("")), seconds);
  Throughput("Ask with an image", Unary(through, QuestionAbout(image)), seconds);
  return 0;
}
