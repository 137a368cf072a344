// A limit of N takes N callers, through the RPCs and over HTTP: each asks again at once when it is answered, and a
// place must be free by then.
#include <curl/curl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <fstream>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "common/hash.h"
#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/gate.h"
#include "tests/testing/paths.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;

constexpr int kCallers = 3;
constexpr int kRequestsOfEach = 100;
constexpr char kKey[] = "alice";
constexpr char kChat[] = "/v1/chat/completions";
constexpr char kCompletions[] = "/v1/completions";

size_t TakeBytes(char* bytes, size_t, size_t size, void* text) {
  static_cast<std::string*>(text)->append(bytes, size);
  return size;
}

// Connections are kept, as clients do.
class HttpCaller {
 public:
  HttpCaller(int port, const char* path) : url_("http://127.0.0.1:" + std::to_string(port) + path) {
    for (const char* header : {"content-type: application/json", "authorization: Bearer alice"}) {
      headers_ = curl_slist_append(headers_, header);
    }
  }
  ~HttpCaller() { curl_slist_free_all(headers_); }

  // Empty if it is answered, else what came.
  std::string Ask(const std::string& body) {
    std::string answer;
    curl_easy_setopt(curl_.get(), CURLOPT_URL, url_.c_str());
    curl_easy_setopt(curl_.get(), CURLOPT_PROXY, "");
    curl_easy_setopt(curl_.get(), CURLOPT_HTTPHEADER, headers_);
    curl_easy_setopt(curl_.get(), CURLOPT_POSTFIELDS, body.c_str());
    curl_easy_setopt(curl_.get(), CURLOPT_WRITEFUNCTION, TakeBytes);
    curl_easy_setopt(curl_.get(), CURLOPT_WRITEDATA, &answer);
    if (curl_easy_perform(curl_.get()) != CURLE_OK) return "no connection";
    return answer.find("\"error\"") == std::string::npos ? "" : answer;
  }

 private:
  const std::string url_;
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_{curl_easy_init(), curl_easy_cleanup};
  curl_slist* headers_ = nullptr;
};

class LimitsRpcTest : public GatewayFixture {
 protected:
  // One caller's request: empty if it is answered, else why not.
  using Request = std::function<std::string()>;

  void Start(Options options) {
    options.http_listen = "127.0.0.1:0";
    StartGateway(language_.target(), options);
  }

  // A key that may have kCallers questions in flight.
  void StartWithKey() {
    Sha256 hash;
    hash.Update(kKey);
    const std::string file = ::testing::TempDir() + "/limits_rpc_test.json";
    std::ofstream(file) << R"({"keys": {"alice": {"max_inflight": )" << kCallers << R"(, "sha256": ")"
                        << ToHex(hash.Finish()) << "\"}}}";
    Start({.api_keys_file = file});
  }

  static void Identify(grpc::ClientContext& context) {
    context.AddMetadata("authorization", std::string("Bearer ") + kKey);
  }

  std::string AskOnce() {
    grpc::ClientContext context;
    Identify(context);
    const auto answer = Ask(context, TextQuestion());
    return answer.ok() ? "" : answer.status().ToString();
  }

  // Answered with the final message: who has it may ask again before the status comes.
  std::string AskStreamOnce() {
    auto context = std::make_unique<grpc::ClientContext>();
    Identify(*context);
    v1::AskStreamRequest request;
    *request.mutable_question() = TextQuestion();
    auto reader = stub_->AskStream(context.get(), request);
    v1::AskStreamResponse event;
    while (reader->Read(&event)) {
      if (!event.has_finished()) continue;
      std::lock_guard lock(mutex_);
      unfinished_.emplace_back(std::move(context), std::move(reader));
      return "";
    }
    return FromGrpcStatus(reader->Finish()).ToString();
  }

  std::string AnalyzeOnce() {
    grpc::ClientContext context;
    Identify(context);
    v1::AnalyzeImageRequest request;
    request.mutable_image()->set_data(image_);
    v1::AnalyzeImageResponse response;
    const grpc::Status status = stub_->AnalyzeImage(&context, request, &response);
    return status.ok() ? "" : status.error_message();
  }

  // As many callers as the limit, all at the same time. Returns what was refused.
  static std::vector<std::string> Hammer(const std::function<Request()>& make_caller) {
    std::mutex mutex;
    std::vector<std::string> refusals;
    std::vector<std::thread> callers;
    for (int i = 0; i < kCallers; ++i) {
      callers.emplace_back([&] {
        const Request ask = make_caller();
        for (int k = 0; k < kRequestsOfEach; ++k) {
          const std::string refusal = ask();
          if (refusal.empty()) continue;
          std::lock_guard lock(mutex);
          refusals.push_back(refusal);
        }
      });
    }
    for (std::thread& caller : callers) caller.join();
    return refusals;
  }

  void ExpectNoRefusal() {
    const auto none = ::testing::IsEmpty();
    EXPECT_THAT(Hammer([this] { return [this] { return AskOnce(); }; }), none) << "Ask";
    EXPECT_THAT(Hammer([this] { return [this] { return AskStreamOnce(); }; }), none) << "AskStream";
    for (auto& [context, reader] : unfinished_) EXPECT_TRUE(reader->Finish().ok());
    unfinished_.clear();
    EXPECT_THAT(Hammer([this] { return [this] { return AnalyzeOnce(); }; }), none) << "AnalyzeImage";
    for (const std::string stream : {"false", "true"}) {
      const std::string body = R"({"messages": [{"role": "user", "content": "what?"}], "stream": )" + stream + "}";
      EXPECT_THAT(HammerOverHttp(kChat, body), none) << "HTTP, stream: " << stream;
    }
  }

  void ExpectNoRefusalOfSeveralAnswers() {
    const auto none = ::testing::IsEmpty();
    const std::string prompts = R"({"prompt": ["a", "b", "c", "d", "e", "f", "g", "h", "i"], "stream": )";
    for (const std::string stream : {"false}", "true}"}) {
      const std::string choices = R"({"messages": [{"role": "user", "content": "what?"}], "n": 3, "stream": )" + stream;
      EXPECT_THAT(HammerOverHttp(kChat, choices), none) << "choices, stream: " << stream;
      EXPECT_THAT(HammerOverHttp(kCompletions, prompts + stream), none) << "prompts, stream: " << stream;
    }
  }

  std::vector<std::string> HammerOverHttp(const char* path, const std::string& body) {
    return Hammer([&]() -> Request {
      return [caller = std::make_shared<HttpCaller>(gateway_->http_port(), path), body] { return caller->Ask(body); };
    });
  }

  absl::Status DetokenizeMuch() {
    grpc::ClientContext context;
    v1::DetokenizeRequest request;
    request.mutable_token_ids()->Resize(60'000, 1 << 28);  // a seventh of the texts' share
    v1::DetokenizeResponse response;
    return FromGrpcStatus(stub_->Detokenize(&context, request, &response));
  }

  static Options LittleMemory() {
    return {.limits = {.image = {.max_bytes = 1 << 20}}, .max_inflight_bytes = 64 << 20};
  }

  FakeLanguageTier language_;

 private:
  const std::string image_ = testing::ReadRepositoryFile("models/demo/samples/red_circle_blue_star.png");
  std::mutex mutex_;
  std::vector<
      std::pair<std::unique_ptr<grpc::ClientContext>, std::unique_ptr<grpc::ClientReader<v1::AskStreamResponse>>>>
      unfinished_;
};

TEST_F(LimitsRpcTest, MaxInflightTakesAsManyCallers) {
  Start({.max_inflight = kCallers});
  ExpectNoRefusal();
}

TEST_F(LimitsRpcTest, AKeysMaxInflightTakesAsManyCallers) {
  StartWithKey();
  ExpectNoRefusal();
}

// Three answers at once, and more than run at a time.
TEST_F(LimitsRpcTest, ARequestOfSeveralAnswersTakesOnePlace) {
  Start({.max_inflight = kCallers});
  ExpectNoRefusalOfSeveralAnswers();
}

TEST_F(LimitsRpcTest, ARequestOfSeveralAnswersTakesOnePlaceOfItsKey) {
  StartWithKey();
  ExpectNoRefusalOfSeveralAnswers();
}

TEST_F(LimitsRpcTest, ARequestOfSeveralAnswersThatFailsGivesItsPlaceBack) {
  FakeLanguageTier picky([](int, auto*, const v1::GenerateRequest& request, FakeLanguageTier::Writer* writer) {
    if (request.question().prompt() == "bad")
      return ToGrpcStatus(InvalidField(reason::kOptionRange, "question.prompt", "no"));
    writer->Write(testing::StartedMessage());
    writer->Write(testing::FinishedMessage("answer"));
    return grpc::Status::OK;
  });
  StartGateway(picky.target(), {.http_listen = "127.0.0.1:0", .max_inflight = 1});
  HttpCaller caller(gateway_->http_port(), kCompletions);
  for (const std::string stream : {"false", "true"}) {
    for (int i = 0; i < kRequestsOfEach; ++i) {
      EXPECT_NE(caller.Ask(R"({"prompt": ["a", "bad", "c", "d", "e", "f", "g", "h", "i"], "stream": )" + stream + "}"),
                "");
      while (!AskOnce().empty()) std::this_thread::yield();
    }
  }
}

TEST_F(LimitsRpcTest, ACallerCannotNameThePlaceOfAnother) {
  testing::Gate gate;
  FakeLanguageTier slow([&](int, auto*, const auto&, FakeLanguageTier::Writer* writer) {
    gate.Pass();
    writer->Write(testing::StartedMessage());
    writer->Write(testing::FinishedMessage("answer"));
    return grpc::Status::OK;
  });
  StartGateway(slow.target(), {.max_inflight = 1});
  const auto ask = [this] {
    grpc::ClientContext context;
    context.AddMetadata("diptych-place", "mine");
    return Ask(context, TextQuestion()).status();
  };
  auto first = std::async(std::launch::async, ask);
  gate.AwaitArrivals(1);
  EXPECT_EQ(ReasonOf(ask()), reason::kQueueFull);
  gate.Open();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(LimitsRpcTest, TextsThatTheTierHoldsTakeTheirShareOfTheMemoryAndNoMore) {
  testing::Gate gate;
  language_.before_decoding = [&] { gate.Pass(); };
  Start(LittleMemory());
  std::atomic<int> refused = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 20; ++i) {
    callers.emplace_back([&] { refused += ReasonOf(DetokenizeMuch()) == reason::kQueueFull; });
  }
  while (gate.arrived() + refused < 20) std::this_thread::yield();
  EXPECT_THAT(gate.arrived(), ::testing::AllOf(::testing::Ge(1), ::testing::Le(10)));
  EXPECT_EQ(AskOnce(), "") << "a question has its own share";
  gate.Open();
  for (std::thread& each : callers) each.join();
  while (!DetokenizeMuch().ok()) std::this_thread::yield();  // once the last replies have left
}

TEST_F(LimitsRpcTest, WhatTheTierSaysOfATextCountsAsMemory) {
  language_.decoded.set_text(std::string(12 << 20, 'a'));
  Start(LittleMemory());
  EXPECT_EQ(ReasonOf(DetokenizeMuch()), reason::kQueueFull);
}

}  // namespace
}  // namespace diptych::gateway
