// Images by address, through the RPC and HTTP, against a real https server.
#include <arpa/inet.h>
#include <curl/curl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <mutex>
#include <thread>

#include "gateway/image_urls/public_address.h"
#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/paths.h"
#include "tests/testing/sample_images.h"
#include "tests/testing/web_server.h"

namespace diptych::gateway {
namespace {

using testing::FakeLanguageTier;
using testing::WebServer;

const std::string kImage = "models/demo/samples/red_circle_blue_star.png";

bool IsLoopback(const sockaddr& address) {
  return address.sa_family == AF_INET &&
         ntohl(reinterpret_cast<const sockaddr_in&>(address).sin_addr.s_addr) == INADDR_LOOPBACK;
}

class ImageUrlRpcTest : public GatewayFixture {
 protected:
  static void SetUpTestSuite() {
    setenv("no_grpc_proxy", "127.0.0.1", 1);
    setenv("https_proxy", "http://127.0.0.1:1", 1);  // must not matter
    setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
    web_ = new WebServer;
  }
  static void TearDownTestSuite() {
    delete web_;
    unsetenv("https_proxy");
    unsetenv("no_grpc_proxy");
    unsetenv("ALL_PROXY");
  }

  void SetUp() override { ASSERT_GT(web_->port(), 0) << "openssl and python3 are needed"; }

  Options Fetching() {
    Options options;
    options.allow_image_urls = true;
    options.limits.image.max_bytes = 200'000;
    options.fetch.port = web_->port();
    options.fetch.ca_file = web_->authority();
    options.fetch.may_dial = [](const sockaddr& address) { return IsLoopback(address) || IsPublicAddress(address); };
    return options;
  }

  static v1::Question About(const std::vector<std::string>& urls) {
    v1::Question question = TextQuestion();
    for (const std::string& url : urls) question.add_images()->set_url(url);
    return question;
  }

  absl::Status AskAbout(const std::string& url) { return Ask(About({url})).status(); }

  void ExpectRefused(const std::string& url, std::string_view reason) {
    const absl::Status status = AskAbout(url);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << url;
    EXPECT_EQ(ReasonOf(status), reason) << url << ": " << status;
    EXPECT_EQ(FieldOf(status), "question.images[0]") << url;
    EXPECT_EQ(std::string(status.message()).find("127.0.0.1"), std::string::npos) << status;
  }

  // Keeps what the tier was asked last.
  FakeLanguageTier::Script Keep() {
    return [this](int, auto*, const v1::GenerateRequest& request, FakeLanguageTier::Writer* writer) {
      std::lock_guard lock(mutex_);
      asked_ = request.question();
      writer->Write(testing::StartedMessage());
      writer->Write(testing::FinishedMessage("answer"));
      return grpc::Status::OK;
    };
  }

  static WebServer* web_;
  std::mutex mutex_;
  v1::Question asked_;
};

WebServer* ImageUrlRpcTest::web_ = nullptr;

TEST_F(ImageUrlRpcTest, TheTierGetsTheBytes) {
  FakeLanguageTier language(Keep());
  StartGateway(language.target(), Fetching());
  const std::string encoded = testing::ReadRepositoryFile(kImage);
  v1::Question question = About({web_->Url("image"), web_->Url("hops/3")});
  question.add_images()->set_data(encoded);
  question.add_images()->set_url(web_->Url("image", "localhost"));
  const auto answer = Ask(question);
  ASSERT_TRUE(answer.ok()) << answer.status();
  ASSERT_EQ(asked_.images_size(), 4);
  for (const v1::Image& image : asked_.images()) EXPECT_TRUE(image.data() == encoded);
  const Stream stream = AskStream(question);
  EXPECT_TRUE(stream.status.ok()) << stream.status;
  EXPECT_EQ(asked_.images_size(), 4);
}

TEST_F(ImageUrlRpcTest, TheTimeCountsAsTheGateways) {
  FakeLanguageTier language(Keep());
  StartGateway(language.target(), Fetching());
  const auto answer = Ask(About({web_->Url("late")}));
  ASSERT_TRUE(answer.ok()) << answer.status();
  // The server takes 300 ms. The fake tier says that 78 ms were its own, which they were not; its call takes some, too.
  EXPECT_GE(FromProtoDuration(answer->timings().gateway()), std::chrono::milliseconds(150));
}

TEST_F(ImageUrlRpcTest, IsRefusedUnlessTheOperatorAllowsIt) {
  FakeLanguageTier language;
  Options options = Fetching();
  options.allow_image_urls = false;
  StartGateway(language.target(), options);
  ExpectRefused(web_->Url("image?off"), reason::kImageUrlRefused);
  EXPECT_FALSE(web_->WasAsked("image?off"));
}

TEST_F(ImageUrlRpcTest, OnlyPlainPublicHttpsAddressesAreAsked) {
  FakeLanguageTier language;
  StartGateway(language.target(), Fetching());
  const std::string port = std::to_string(web_->port());
  for (const std::string& url :
       {std::string(), std::string("image"), "http://127.0.0.1:" + port + "/a", "ftp://127.0.0.1:" + port + "/a",
        std::string("file:///etc/passwd"), "https://user@127.0.0.1:" + port + "/a",
        "https://user:word@127.0.0.1:" + port + "/a", std::string("https://127.0.0.1/a"),
        std::string("https://127.0.0.1:22/a"), "https://:" + port + "/a", "https://localhost.:" + port + "/a",
        "https://127.0.0.1:" + port + "/\n", "https://127.0.0.1:" + port + "/\xc3\xa9",
        "https://127.0.0.1:" + port + "/" + std::string(3000, 'a')}) {
    ExpectRefused(url, reason::kImageUrlRefused);
  }
  for (const char* host :
       {"10.0.0.1", "169.254.169.254", "0.0.0.0", "0", "192.168.1.1", "[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25lo]",
        "[fd00::1]", "167772161", "0xa.0.0.1", "012.0.0.1", "no-such-host.invalid"}) {
    ExpectRefused(web_->Url("private", host), reason::kImageUrlRefused);
  }
  EXPECT_EQ(language.calls(), 0);
  EXPECT_FALSE(web_->WasAsked("private"));
}

TEST_F(ImageUrlRpcTest, ARedirectIsCheckedLikeTheFirstAddress) {
  FakeLanguageTier language;
  StartGateway(language.target(), Fetching());
  const std::string port = std::to_string(web_->port());
  for (const std::string& target : {"https://10.0.0.1:" + port + "/", "https://169.254.169.254:" + port + "/latest",
                                    "http://127.0.0.1:" + port + "/image", std::string("https://127.0.0.1/image"),
                                    std::string("file:///etc/passwd"), "https://a@127.0.0.1:" + port + "/image"}) {
    ExpectRefused(web_->Url("to/" + target), reason::kImageUrlRefused);
  }
  EXPECT_TRUE(AskAbout(web_->Url("to/image")).ok() == false) << "relative to /to/: there is nothing";
  EXPECT_TRUE(AskAbout(web_->Url("to//image")).ok());
  ExpectRefused(web_->Url("hops/4"), reason::kImageUrlFailed);
}

TEST_F(ImageUrlRpcTest, WhatComesIsBoundedAndJudged) {
  FakeLanguageTier language;
  StartGateway(language.target(), Fetching());
  ExpectRefused(web_->Url("said"), reason::kImageTooLarge);
  ExpectRefused(web_->Url("endless"), reason::kImageTooLarge);
  ExpectRefused(web_->Url("headers"), reason::kImageUrlFailed);
  ExpectRefused(web_->Url("page"), reason::kImageFormat);
  ExpectRefused(web_->Url("nothing"), reason::kImageUrlFailed);
  EXPECT_EQ(language.calls(), 0);
}

TEST_F(ImageUrlRpcTest, TheMemoryForItIsAccounted) {
  FakeLanguageTier language;
  Options options = Fetching();
  options.max_inflight_bytes = 100'000;
  StartGateway(language.target(), options);
  const absl::Status status = AskAbout(web_->Url("endless"));
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), reason::kQueueFull);
  while (gateway_->Metrics().find("\ndiptych_inflight_bytes 0\n") == std::string::npos) std::this_thread::yield();
}

TEST_F(ImageUrlRpcTest, ACertificateThatNobodyKnowsIsNoConnection) {
  FakeLanguageTier language;
  Options options = Fetching();
  options.fetch.ca_file = "";
  StartGateway(language.target(), options);
  ExpectRefused(web_->Url("image?unsigned"), reason::kImageUrlFailed);
  EXPECT_FALSE(web_->WasAsked("image?unsigned"));
}

TEST_F(ImageUrlRpcTest, ASlowServerCostsAtMostTheTimeThatIsAllowed) {
  FakeLanguageTier language;
  Options options = Fetching();
  options.fetch.total_timeout = absl::Milliseconds(300);
  StartGateway(language.target(), options);
  ExpectRefused(web_->Url("silent"), reason::kImageUrlFailed);
  ExpectRefused(web_->Url("dripping"), reason::kImageUrlFailed);
}

TEST_F(ImageUrlRpcTest, TheCallersDeadlineAndLeavingEndTheFetch) {
  FakeLanguageTier language;
  StartGateway(language.target(), Fetching());
  grpc::ClientContext hurried;
  hurried.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
  EXPECT_EQ(Ask(hurried, About({web_->Url("silent?hurried")})).status().code(), absl::StatusCode::kDeadlineExceeded);
  grpc::ClientContext leaving;
  auto left = std::async(std::launch::async, [&] { return Ask(leaving, About({web_->Url("silent?leaving")})); });
  web_->AwaitAsked("silent?leaving");
  leaving.TryCancel();
  EXPECT_EQ(left.get().status().code(), absl::StatusCode::kCancelled);
  while (gateway_->Metrics().find("\ndiptych_requests_running 0\n") == std::string::npos) std::this_thread::yield();
  EXPECT_EQ(language.calls(), 0);
}

size_t Append(char* bytes, size_t, size_t size, void* text) {
  static_cast<std::string*>(text)->append(bytes, size);
  return size;
}

TEST_F(ImageUrlRpcTest, HttpTakesAddressesToo) {
  FakeLanguageTier language(Keep());
  Options options = Fetching();
  options.http_listen = "127.0.0.1:0";
  StartGateway(language.target(), options);
  const std::string body =
      R"({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": ")" +
      web_->Url("image") + R"("}}, {"type": "text", "text": "what?"}]}]})";
  std::string answer;
  const std::string url = "http://127.0.0.1:" + std::to_string(gateway_->http_port()) + "/v1/chat/completions";
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), curl_easy_cleanup);
  curl_slist* headers = curl_slist_append(nullptr, "content-type: application/json");
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(curl.get(), CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, Append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer);
  EXPECT_EQ(curl_easy_perform(curl.get()), CURLE_OK);
  curl_slist_free_all(headers);
  EXPECT_NE(answer.find(R"("content":"answer")"), std::string::npos) << answer;
  ASSERT_EQ(asked_.images_size(), 1);
  EXPECT_TRUE(asked_.images(0).data() == testing::ReadRepositoryFile(kImage));
}

}  // namespace
}  // namespace diptych::gateway
