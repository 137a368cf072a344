// token_delivery [CALLERS [TOKENS [ROUNDS]]]: what it costs to bring tokens to their callers. A decoder that computes
// nothing stands in a real language tier, behind a real gateway, all in this process; callers read their answers over
// sockets. Three ways take turns: readers next to the engine that drop what they get, callers of the language tier,
// callers of the gateway. Printed for each, as medians: the engine thread's processor time for a sequence and step
// (planning, choosing, detokenising, handing over), and the tokens that reached the callers in a second.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <latch>
#include <memory>
#include <string>
#include <vector>

#include "bench/median.h"
#include "bench/null_language_tier.h"
#include "diptych/v1/gateway.grpc.pb.h"
#include "diptych/v1/language.grpc.pb.h"
#include "gateway/server.h"
#include "tests/testing/fake_tiers.h"

namespace {

using namespace diptych;  // NOLINT

constexpr int kChannels = 4;
constexpr int kMostTokens = 1000;  // what fits the window

// Counts of the callers of one round.
struct Tally {
  explicit Tally(int callers) : missing(callers) {}

  void End(bool ok) {
    if (!ok) ++failed;
    missing.count_down();
  }

  std::atomic<int64_t> tokens = 0;
  std::atomic<int> failed = 0;
  std::latch missing;
};

// Reads one answer to its end. Deletes itself.
template <typename Request, typename Response>
class Caller final : public grpc::ClientReadReactor<Response> {
 public:
  template <typename Method>
  Caller(Request request, Tally& tally, Method method) : request_(std::move(request)), tally_(tally) {
    method(&context_, &request_, this);
    this->StartRead(&response_);
    this->StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) return;
    tally_.tokens += response_.delta().token_ids_size();
    this->StartRead(&response_);
  }
  void OnDone(const grpc::Status& status) override {
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.error_message().c_str());
    tally_.End(status.ok());
    delete this;
  }

 private:
  grpc::ClientContext context_;
  const Request request_;
  Response response_;
  Tally& tally_;
};

// Stubs on several connections.
template <typename Service>
auto StubsOf(int port) {
  grpc::ChannelArguments own;
  own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  std::vector<std::unique_ptr<typename Service::Stub>> stubs;
  for (int i = 0; i < kChannels; ++i) {
    stubs.push_back(Service::NewStub(
        grpc::CreateCustomChannel("127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), own)));
  }
  return stubs;
}

struct Results {
  std::vector<double> microseconds, tokens_per_second;
  int failed = 0;
};

// `start(i, tally)` starts caller i.
template <typename Start>
double TokensPerSecond(int callers, Results& results, const Start& start) {
  using Clock = std::chrono::steady_clock;
  Tally tally(callers);
  const auto begin = Clock::now();
  for (int i = 0; i < callers; ++i) start(i, tally);
  tally.missing.wait();
  results.failed += tally.failed;
  return static_cast<double>(tally.tokens) / std::chrono::duration<double>(Clock::now() - begin).count();
}

void Print(std::FILE* out, const char* way, const Results& results) {
  std::fprintf(out, "| %s | %.2f | %.0f | %d |\n", way, Median(results.microseconds), Median(results.tokens_per_second),
               results.failed);
}

}  // namespace

int main(int argc, char** argv) {
  const int callers = argc > 1 ? std::atoi(argv[1]) : 256;
  const int tokens = argc > 2 ? std::atoi(argv[2]) : 200;
  const int rounds = argc > 3 ? std::atoi(argv[3]) : 5;
  if (callers < 1 || tokens < 1 || tokens > kMostTokens || rounds < 1) {
    std::fprintf(stderr, "token_delivery [CALLERS [TOKENS [ROUNDS]]]: each 1 or more, at most %d tokens\n",
                 kMostTokens);
    return 2;
  }
  std::FILE* const results = fdopen(dup(STDOUT_FILENO), "w");
  if (std::freopen("/dev/null", "w", stdout) == nullptr) return 1;  // there goes a log line for each call
  bench::NullLanguageTier tier(callers);
  testing::FakeVisionTier vision;
  gateway::Options options;
  options.listen = "127.0.0.1:0";
  options.language_target = "127.0.0.1:" + std::to_string(tier.port());
  options.vision_target = vision.target();
  options.max_inflight = callers;
  const auto gateway = gateway::GatewayServer::Start(options);
  if (!gateway.ok()) return 1;

  v1::GenerateRequest generate;
  generate.mutable_question()->set_prompt("Question: What color is the circle? Answer:");
  generate.mutable_question()->mutable_generation()->set_max_new_tokens(tokens);
  v1::AskStreamRequest ask;
  *ask.mutable_question() = generate.question();
  const auto direct = StubsOf<v1::LanguageService>(tier.port());
  const auto through = StubsOf<v1::GatewayService>((*gateway)->port());

  Results alone, of_tier, whole;
  for (int round = 0; round < rounds; ++round) {
    alone.tokens_per_second.push_back(TokensPerSecond(callers, alone, [&](int, Tally& tally) {
      tier.AskAlone(
          tokens, [&tally](int64_t more) { tally.tokens += more; }, [&tally](bool ok) { tally.End(ok); });
    }));
    alone.microseconds.push_back(tier.TakeMicrosecondsAlone());
    of_tier.tokens_per_second.push_back(TokensPerSecond(callers, of_tier, [&](int i, Tally& tally) {
      new Caller<v1::GenerateRequest, v1::GenerateResponse>(
          generate, tally, [&](auto... call) { direct[i % kChannels]->async()->Generate(call...); });
    }));
    of_tier.microseconds.push_back(tier.TakeMicroseconds());
    whole.tokens_per_second.push_back(TokensPerSecond(callers, whole, [&](int i, Tally& tally) {
      new Caller<v1::AskStreamRequest, v1::AskStreamResponse>(
          ask, tally, [&](auto... call) { through[i % kChannels]->async()->AskStream(call...); });
    }));
    whole.microseconds.push_back(tier.TakeMicroseconds());
  }
  std::fprintf(
      results,
      "| %d callers, %d tokens each | engine thread, µs a sequence and step | tokens/s | failed |\n|---|---|---|---|\n",
      callers, tokens);
  Print(results, "readers beside the engine", alone);
  Print(results, "language tier", of_tier);
  Print(results, "gateway and language tier", whole);
  return alone.failed + of_tier.failed + whole.failed == 0 ? 0 : 1;
}
