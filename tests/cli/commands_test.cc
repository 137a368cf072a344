// chat, models, status and doctor.
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "cli/connection/client.h"
#include "common/grpc/grpc_status.h"
#include "common/status.h"
#include "tests/cli/cli_fixture.h"

namespace diptych::cli {
namespace {

using testing::DeltaMessage;
using testing::FakeLanguageTier;
using testing::Finished;
using testing::FinishedMessage;
using testing::StartedMessage;

class CommandsTest : public CliFixture {
 protected:
  // Until the gateway has reached the fake tier.
  void WaitUntilReady() {
    for (int i = 0; i < 100 && Diptych({"status"}).exit_code != 0; ++i) {
    }
  }
};

TEST_F(CommandsTest, ChatCarriesTheConversation) {
  std::mutex mutex;
  std::vector<v1::Question> seen;
  FakeLanguageTier language([&](int call, auto*, const v1::GenerateRequest& request, auto* writer) {
    {
      std::lock_guard lock(mutex);
      seen.push_back(request.question());
    }
    const std::string text = "answer " + std::to_string(call);
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage(text, 5));
    writer->Write(FinishedMessage(text));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Finished chat =
      Diptych({"chat", "--image", WriteFile("a.png", testing::PngHeader(8, 8))}, "first\n\nsecond\n/reset\nthird\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  EXPECT_EQ(chat.out, "answer 1\nanswer 2\nanswer 3\n");
  EXPECT_NE(chat.err.find("context 2,048 tokens"), std::string::npos) << "each answer tells its budget";
  ASSERT_EQ(seen.size(), 3u);
  ASSERT_EQ(seen[1].turns_size(), 3);
  EXPECT_EQ(seen[1].turns(0).text(), "first");
  EXPECT_EQ(seen[1].turns(1).text(), "answer 1");
  EXPECT_EQ(seen[1].turns(1).role(), v1::ROLE_ASSISTANT);
  EXPECT_EQ(seen[1].turns(2).text(), "second");
  EXPECT_EQ(seen[1].images_size(), 1);
  EXPECT_EQ(seen[2].turns_size(), 1) << "/reset forgets";
}

TEST_F(CommandsTest, ChatGoesOnAfterARefusalAndSaysSoInTheEnd) {
  FakeLanguageTier language([&](int call, auto*, const v1::GenerateRequest& request, auto* writer) {
    if (call == 1)
      return ToGrpcStatus(MakeError(absl::StatusCode::kOutOfRange, reason::kContextLengthExceeded, "too long"));
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage(std::to_string(request.question().turns_size()), 5));
    writer->Write(FinishedMessage("1"));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const Finished chat = Diptych({"chat"}, "first\nsecond\n");
  EXPECT_EQ(chat.exit_code, 1);
  EXPECT_EQ(chat.out, "1\n") << "the refused turn is not part of the conversation";
  EXPECT_NE(chat.err.find("CONTEXT_LENGTH_EXCEEDED"), std::string::npos);
}

TEST_F(CommandsTest, ModelsShowsPartsAndLimits) {
  FakeLanguageTier language;
  StartGateway(language.target());
  WaitUntilReady();
  const Finished models = Diptych({"models"});
  EXPECT_EQ(models.exit_code, 0) << models.err;
  for (const char* word :
       {"fake", "vision", "qformer", "projection", "language", "2,048 tokens", "64,000,000 pixels"}) {
    EXPECT_NE(models.out.find(word), std::string::npos) << word << " in\n" << models.out;
  }
  const auto objects = JsonLines(Diptych({"models", "--json"}).out);
  ASSERT_EQ(objects.size(), 1u);
  EXPECT_EQ(objects[0]["model"]["query_tokens"], 32);
  EXPECT_EQ(objects[0]["limits"]["max_images"], 8);
}

TEST_F(CommandsTest, StatusTellsWhichTierIsDown) {
  FakeLanguageTier language;
  StartGateway(language.target());
  WaitUntilReady();
  EXPECT_EQ(Diptych({"status"}).exit_code, 0);
  vision_.Kill();
  const Finished status = Diptych({"status"});
  EXPECT_EQ(status.exit_code, 1);
  const auto lines = Lines(status.out);
  ASSERT_EQ(lines.size(), 4u) << status.out;
  EXPECT_EQ(lines[1].find("gateway   serving"), 0u) << lines[1];
  EXPECT_EQ(lines[2].find("language  serving"), 0u) << lines[2];
  EXPECT_EQ(lines[3].find("vision    DOWN"), 0u) << lines[3];
}

TEST_F(CommandsTest, StatusShowsTheLoadOfTheTiers) {
  FakeLanguageTier language;
  language.load.set_running(7);
  language.load.set_waiting(3);
  language.load.set_mean_batch_size(4.25);
  language.load.set_kv_cache_usage(0.5);
  v1::CacheLoad& cache = *language.load.add_caches();
  cache.set_name("kv_prefix");
  cache.set_queries(8);
  cache.set_hits(6);
  StartGateway(language.target());
  WaitUntilReady();
  const auto lines = Lines(Diptych({"status"}).out);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_NE(lines[2].find(" 7        3    4.2  50 %  kv_prefix 75 %"), std::string::npos) << lines[2];
  const auto objects = JsonLines(Diptych({"status", "--json"}).out);
  ASSERT_EQ(objects.size(), 3u);
  EXPECT_TRUE(objects[0]["load"].is_null());
  EXPECT_EQ(objects[1]["load"]["waiting"], 3);
  EXPECT_EQ(objects[1]["load"]["mean_batch_size"], 4.25);
  EXPECT_EQ(objects[1]["load"]["caches"][0]["hits"], 6);
}

TEST_F(CommandsTest, StatusOfNothingIsExitCodeThree) {
  server_ = testing::DeadTarget();
  for (const char* command : {"status", "models", "doctor"}) EXPECT_EQ(Diptych({command}).exit_code, 3) << command;
}

TEST_F(CommandsTest, AnAddressWhereNobodyAnswersIsExplained) {
  gateway::Options options;
  options.http_listen = "127.0.0.1:0";
  StartGateway(testing::DeadTarget(), options);
  const std::string http = "127.0.0.1:" + std::to_string(gateway_->http_port());
  FakeLanguageTier tier;
  for (const auto& [server, words, remedy] :
       {std::tuple<std::string, std::string, std::string>{testing::DeadTarget(), "nothing listens at", "diptych serve"},
        {http, http + " speaks HTTP, not gRPC", "7000 by default"},
        {"no.such.host.invalid:7000", "the name no.such.host.invalid is not known", "spelled"},
        {"http://127.0.0.1:8080", "without \"http://\"", "gRPC port"},
        {"https://gateway.example", "without \"https://\"", "--tls_ca"},
        {"grpc://127.0.0.1:7000", "without \"grpc://\"", "Give --server 127.0.0.1:7000"},
        {"127.0.0.1:80000", "\"80000\" is not a port", "up to 65535"},
        {"127.0.0.1:http", "\"http\" is not a port", "up to 65535"},
        {tier.target(), "is not a gateway", "not a tier's"}}) {
    server_ = server;
    for (const char* command : {"status", "models"}) {
      const Finished finished = Diptych({command});
      EXPECT_EQ(finished.exit_code, 3) << server << finished.err;
      EXPECT_EQ(finished.err.find("diptych: UNREACHABLE: "), 0u) << finished.err;
      EXPECT_NE(finished.err.find(words), std::string::npos) << finished.err;
      EXPECT_NE(finished.err.find(remedy), std::string::npos) << finished.err;
    }
  }
  server_ = http;
  const auto error = JsonLines(Diptych({"models", "--json"}).err)[0]["error"];
  EXPECT_EQ(error["reason"], "UNREACHABLE");
  EXPECT_NE(error["remedy"], "");
}

TEST_F(CommandsTest, StatusDoesNotBlameATierForAKey) {
  FakeLanguageTier language;
  gateway::Options options;
  options.api_keys_file = WriteFile("keys.json", R"({"keys": {"first": {"sha256":
      "9e24b55356ef2a121ab5fd1a3ee8a3c9191e837f3853e399a369e9044ff183f7"}}})");
  StartGateway(language.target(), options);
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"status"}, {"status", "--api_key", "wrong"}, {"status", "--json"}}) {
    const Finished status = Diptych(arguments);
    EXPECT_EQ(status.exit_code, 1);
    EXPECT_EQ(status.out.find("language"), std::string::npos) << status.out;
    EXPECT_NE(status.err.find("INVALID_API_KEY"), std::string::npos) << status.err;
  }
}

TEST_F(CommandsTest, ChatTakesOtherImages) {
  FakeLanguageTier language([](int, auto*, const v1::GenerateRequest& request, auto* writer) {
    const v1::Question& question = request.question();
    const std::string text =
        std::to_string(question.images_size()) + " images, " + std::to_string(question.turns_size()) + " turns";
    writer->Write(StartedMessage());
    writer->Write(DeltaMessage(text, 5));
    writer->Write(FinishedMessage(text));
    return grpc::Status::OK;
  });
  StartGateway(language.target());
  const std::string image = WriteFile("a cat.png", testing::PngHeader(8, 8));
  const Finished chat = Diptych({"chat", image}, "a\nb\n/image " + image + "\nc\n/clear\nd\n/quit\nnever\n");
  EXPECT_EQ(chat.exit_code, 0) << chat.err;
  EXPECT_EQ(chat.out, "1 images, 1 turns\n1 images, 3 turns\n1 images, 1 turns\n1 images, 1 turns\n");
  for (const std::string& name : {"'" + image + "'", '"' + image + '"', absl::StrReplaceAll(image, {{" ", "\\ "}})}) {
    const Finished dropped = Diptych({"chat"}, absl::StrCat("/image ", name, " ", name, "\na\n"));
    EXPECT_EQ(dropped.out, "2 images, 1 turns\n") << name << ": " << dropped.err;
  }
  const Finished wrong = Diptych({"chat"}, "/image /no/such.png\n/imgae x\na\n");
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_EQ(wrong.out, "0 images, 1 turns\n") << "it goes on";
  EXPECT_NE(wrong.err.find("/no/such.png: there is no such file"), std::string::npos) << wrong.err;
  EXPECT_NE(wrong.err.find("did you mean /image?"), std::string::npos) << wrong.err;
}

TEST_F(CommandsTest, DoctorIsContentWithAHealthySystem) {
  FakeLanguageTier language;
  StartGateway(language.target());
  WaitUntilReady();
  const Finished doctor = Diptych({"doctor"});
  EXPECT_EQ(doctor.exit_code, 0) << doctor.out << doctor.err;
  const auto lines = Lines(doctor.out);
  EXPECT_GE(lines.size(), 8u);
  for (const std::string& line : lines) EXPECT_EQ(line.find("ok "), 0u) << line;
}

TEST_F(CommandsTest, DoctorNamesTheRemedyWhenTheTiersDisagree) {
  FakeLanguageTier language;
  language.model.set_fingerprint("another");
  StartGateway(language.target());
  WaitUntilReady();
  const Finished doctor = Diptych({"doctor"});
  EXPECT_EQ(doctor.exit_code, 1);
  EXPECT_NE(doctor.out.find("FAIL  tiers agree"), std::string::npos) << doctor.out;
  EXPECT_NE(doctor.out.find("same --model"), std::string::npos) << doctor.out;
}

TEST_F(CommandsTest, DoctorFindsTheMissingLanguageTier) {
  StartGateway(testing::DeadTarget());
  const Finished doctor = Diptych({"doctor", "--json"});
  EXPECT_EQ(doctor.exit_code, 1);
  const auto checks = JsonLines(doctor.out);
  const auto gateway = std::find_if(checks.begin(), checks.end(),
                                    [](const auto& check) { return check["check"] == "gateway is ready"; });
  ASSERT_NE(gateway, checks.end()) << doctor.out;
  EXPECT_EQ((*std::prev(gateway))["check"], "gateway answers");
  EXPECT_EQ((*std::prev(gateway))["ok"], true);
  EXPECT_EQ((*gateway)["ok"], false);
  EXPECT_NE((*gateway)["remedy"], "");
}

TEST_F(CommandsTest, AKeyIsSentFromFlagOrEnvironment) {
  FakeLanguageTier language;
  // printf %s first-key | openssl dgst -sha256 -r
  const std::string keys = WriteFile("keys.json", R"({"keys": {"first": {"sha256":
      "9e24b55356ef2a121ab5fd1a3ee8a3c9191e837f3853e399a369e9044ff183f7"}}})");
  gateway::Options options;
  options.api_keys_file = keys;
  StartGateway(language.target(), options);
  for (int i = 0; i < 100 && Diptych({"models", "--api_key", "first-key"}).exit_code != 0; ++i) {
  }
  const Finished with_key = Diptych({"models", "--api_key", "first-key"});
  EXPECT_EQ(with_key.exit_code, 0) << with_key.err;
  const Finished answered = Diptych({"ask", "--question", "x", "--api_key=first-key"});
  EXPECT_EQ(answered.exit_code, 0) << answered.err;
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"models"}, {"models", "--api_key", "secret-word"}}) {
    const Finished refused = Diptych(arguments);
    EXPECT_EQ(refused.exit_code, kFailed);
    EXPECT_NE(refused.err.find("INVALID_API_KEY"), std::string::npos) << refused.err;
    EXPECT_NE(refused.err.find("DIPTYCH_API_KEY"), std::string::npos) << "the remedy";
    EXPECT_EQ(refused.err.find("secret-word"), std::string::npos) << refused.err;
  }
  const Finished broken = Diptych({"models", "--api_key", "secret-word\n"});
  EXPECT_NE(broken.exit_code, 0);
  EXPECT_EQ(broken.err.find("secret-word"), std::string::npos) << broken.err;
}

}  // namespace
}  // namespace diptych::cli
