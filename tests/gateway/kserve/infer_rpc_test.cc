#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/escaping.h"
#include "common/grpc/grpc_status.h"
#include "common/status.h"
#include "inference/grpc_service.grpc.pb.h"
#include "tests/gateway/gateway_fixture.h"
#include "tests/testing/sample_images.h"

namespace diptych::gateway {
namespace {

class InferRpcTest : public GatewayFixture {
 protected:
  void SetUp() override {
    language_ = std::make_unique<testing::FakeLanguageTier>(
        [this](int, grpc::ServerContext*, const v1::GenerateRequest& request, auto* writer) {
          question_ = request.question();
          writer->Write(testing::StartedMessage());
          writer->Write(testing::DeltaMessage("a red", 5));
          writer->Write(testing::DeltaMessage(" circle", 6));
          writer->Write(testing::FinishedMessage("a red circle"));
          return grpc::Status::OK;
        });
    StartGateway(language_->target());
    infer_ = inference::GRPCInferenceService::NewStub(channel_);
  }

  static void AddBytes(inference::ModelInferRequest& request, const std::string& name, const std::string& value) {
    auto& input = *request.add_inputs();
    input.set_name(name);
    input.set_datatype("BYTES");
    input.add_shape(1);
    input.mutable_contents()->add_bytes_contents(value);
  }

  // An input without a shape of its own: of raw elements.
  static void AddRaw(inference::ModelInferRequest& request, const std::string& name, const std::string& type,
                     std::initializer_list<int64_t> shape, const std::string& raw) {
    auto& input = *request.add_inputs();
    input.set_name(name);
    input.set_datatype(type);
    for (const int64_t size : shape) input.add_shape(size);
    request.add_raw_input_contents(raw);
  }

  absl::StatusOr<inference::ModelInferResponse> Infer(const inference::ModelInferRequest& request) {
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    const grpc::Status status = infer_->ModelInfer(&context, request, &response);
    if (!status.ok()) return FromGrpcStatus(status);
    return response;
  }

  // The raw elements of an output; of BYTES without the length.
  static std::string Output(const inference::ModelInferResponse& response, const std::string& name) {
    for (int i = 0; i < response.outputs_size(); ++i) {
      if (response.outputs(i).name() != name) continue;
      const std::string& raw = response.raw_output_contents(i);
      return response.outputs(i).datatype() == "BYTES" ? raw.substr(4) : raw;
    }
    return "no output " + name;
  }

  std::unique_ptr<testing::FakeLanguageTier> language_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> infer_;
  v1::Question question_;  // that the tier got
};

TEST_F(InferRpcTest, AnImageAndAPromptBecomeAQuestion) {
  inference::ModelInferRequest request;
  request.set_id("seven");
  AddBytes(request, "image", testing::GoodPng());
  AddBytes(request, "prompt", "Question: what? Answer:");
  const auto response = Infer(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(question_.images(0).data(), testing::GoodPng());
  EXPECT_EQ(question_.prompt(), "Question: what? Answer:");
  EXPECT_EQ(question_.request_id(), "seven");
  EXPECT_EQ(response->id(), "seven");
  EXPECT_EQ(Output(*response, "text_output"), "a red circle");
  EXPECT_TRUE(nlohmann::json::parse(Output(*response, "timings")).contains("vit"));
  EXPECT_TRUE(nlohmann::json::parse(Output(*response, "context_budget")).contains("remaining"));
}

TEST_F(InferRpcTest, TritonsNamesMeanTheSame) {
  inference::ModelInferRequest request;
  const std::string png = testing::GoodPng();
  const auto sized = [](const std::string& bytes) {
    const auto size = static_cast<uint32_t>(bytes.size());
    return std::string(reinterpret_cast<const char*>(&size), sizeof(size)) + bytes;
  };
  AddRaw(request, "image_bytes", "BYTES", {1, 1}, sized(absl::Base64Escape(png)));
  AddRaw(request, "text_input", "BYTES", {1, 1}, sized("why"));
  AddRaw(request, "max_tokens", "INT32", {1, 1}, std::string("\x07\0\0\0", 4));
  AddRaw(request, "exclude_input_in_output", "BOOL", {1}, std::string(1, '\0'));
  AddRaw(request, "sampling_parameters", "BYTES", {1}, sized(R"({"temperature": 0.5, "seed": 9007199254740993})"));
  const auto response = Infer(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(question_.images(0).data(), png);
  EXPECT_EQ(question_.generation().max_new_tokens(), 7);
  EXPECT_EQ(question_.generation().temperature(), 0.5);
  EXPECT_EQ(question_.generation().seed(), 9007199254740993u);
  EXPECT_EQ(Output(*response, "text_output"), "whya red circle");
}

TEST_F(InferRpcTest, AFileMayBeAnArrayOfItsBytes) {
  const std::string png = testing::GoodPng();
  const auto size = static_cast<int64_t>(png.size());
  for (const auto& shape : {std::initializer_list<int64_t>{size}, std::initializer_list<int64_t>{1, size}}) {
    inference::ModelInferRequest request;
    AddRaw(request, "image", "UINT8", shape, png);
    const auto response = Infer(request);
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(question_.images(0).data(), png);
  }
  for (const auto& [type, bytes] : {std::pair("FP32", 4), std::pair("UINT8", 1)}) {
    inference::ModelInferRequest request;
    AddRaw(request, "image", type, {1, 3, 224, 224}, std::string(3 * 224 * 224 * bytes, '\0'));
    const absl::Status status = Infer(request).status();
    EXPECT_NE(status.message().find("not as pixels"), std::string::npos) << status;
  }
}

TEST_F(InferRpcTest, OptionsMayBeParametersAndOutputsChosen) {
  inference::ModelInferRequest request;
  AddBytes(request, "question", "what is it?");
  (*request.mutable_parameters())["num_beams"].set_int64_param(3);
  (*request.mutable_parameters())["stop"].set_string_param(".");
  (*request.mutable_parameters())["image_size"].set_int64_param(28);
  request.add_outputs()->set_name("text_output");
  const auto response = Infer(request);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(question_.turns(0).text(), "what is it?");
  EXPECT_EQ(question_.generation().num_beams(), 3);
  EXPECT_EQ(question_.generation().stop(0), ".");
  EXPECT_EQ(question_.image_options().image_size(), 28);
  EXPECT_EQ(response->outputs_size(), 1);
}

TEST_F(InferRpcTest, NumbersBeyondInt64StayThemselves) {
  constexpr uint64_t kLargest = std::numeric_limits<uint64_t>::max();
  const auto ask = [this](auto change) {
    question_.Clear();
    inference::ModelInferRequest request;
    AddBytes(request, "prompt", "a");
    change(request);
    return Infer(request).status();
  };
  const auto add_number = [](inference::ModelInferRequest& request, const std::string& name) {
    auto& input = *request.add_inputs();
    input.set_name(name);
    input.set_datatype("UINT64");
    input.add_shape(1);
    input.mutable_contents()->add_uint64_contents(kLargest);
  };
  EXPECT_TRUE(ask([&](auto& r) { add_number(r, "random_seed"); }).ok());
  EXPECT_EQ(question_.generation().seed(), kLargest);
  EXPECT_TRUE(ask([](auto& r) { (*r.mutable_parameters())["seed"].set_uint64_param(kLargest); }).ok());
  EXPECT_EQ(question_.generation().seed(), kLargest);
  EXPECT_TRUE(ask([](auto& r) { AddBytes(r, "sampling_parameters", R"({"seed": 18446744073709551615})"); }).ok());
  EXPECT_EQ(question_.generation().seed(), kLargest);
  // As an int64_t it would be -1, which is a penalty.
  EXPECT_EQ(ask([&](auto& r) { add_number(r, "presence_penalty"); }).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(
      ask([](auto& r) { AddBytes(r, "sampling_parameters", R"({"presence_penalty": 18446744073709551615})"); }).code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ask([&](auto& r) { add_number(r, "top_k"); }).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(InferRpcTest, FaultyTensorsAreRefusedByName) {
  const auto reason_of = [this](auto change) {
    inference::ModelInferRequest request;
    AddBytes(request, "prompt", "a");
    change(request);
    const absl::Status status = Infer(request).status();
    return std::pair(status.code(), ReasonOf(status));
  };
  const auto refused = std::pair(absl::StatusCode::kInvalidArgument, std::string(reason::kOptionRange));
  EXPECT_EQ(reason_of([](auto& r) { r.mutable_inputs(0)->set_shape(0, 2); }), refused) << "fewer elements";
  EXPECT_EQ(reason_of([](auto& r) { r.mutable_inputs(0)->set_shape(0, int64_t{1} << 62); }), refused) << "huge";
  EXPECT_EQ(reason_of([](auto& r) { r.mutable_inputs(0)->set_shape(0, -1); }), refused) << "negative";
  EXPECT_EQ(reason_of([](auto& r) { r.mutable_inputs(0)->set_datatype("FP16"); }), refused);
  EXPECT_EQ(reason_of([](auto& r) { r.add_raw_input_contents("xxxxxxx"); }), refused) << "length beyond the end";
  EXPECT_EQ(reason_of([](auto& r) { AddBytes(r, "prompt", "b"); }), refused) << "twice";
  EXPECT_EQ(reason_of([](auto& r) { AddBytes(r, "bad_words", "b"); }), refused) << "unknown";
  EXPECT_EQ(reason_of([](auto& r) { AddBytes(r, "question", "b"); }), refused) << "beside prompt";
  EXPECT_EQ(reason_of([](auto& r) { AddBytes(r, "max_tokens", "many"); }), refused);
  EXPECT_EQ(reason_of([](auto& r) { AddBytes(r, "sampling_parameters", "[1]"); }), refused);
  EXPECT_EQ(reason_of([](auto& r) { AddBytes(r, "sampling_parameters", "{\"top_k\": 1"); }), refused) << "cut off";
  EXPECT_EQ(reason_of([](auto& r) { AddBytes(r, "sampling_parameters", R"({"top_k": 1, "top_k": 1})"); }), refused);
  EXPECT_EQ(reason_of([](auto& r) { r.add_outputs()->set_name("logits"); }), refused);
  EXPECT_EQ(reason_of([](auto& r) { (*r.mutable_parameters())["top_k"].set_double_param(1.5); }), refused);
  EXPECT_EQ(reason_of([](auto& r) { r.set_model_name("other"); }).first, absl::StatusCode::kNotFound);
  EXPECT_EQ(reason_of([](auto& r) { r.set_model_version("2"); }).first, absl::StatusCode::kNotFound);
  EXPECT_EQ(language_->calls(), 0);
}

TEST_F(InferRpcTest, WhatTheGatewayRefusesHasTheCallersNames) {
  const auto fault_of = [this](auto change) {
    inference::ModelInferRequest request;
    change(request);
    const absl::Status status = Infer(request).status();
    return std::pair(FieldOf(status), std::string(status.message()));
  };
  const auto option = [&](const std::string& name, int64_t value) {
    return fault_of([&](auto& r) {
      AddBytes(r, "text_input", "a");
      (*r.mutable_parameters())[name].set_int64_param(value);
    });
  };
  using Fault = std::pair<std::string, std::string>;
  EXPECT_EQ(option("max_tokens", 0), Fault("inputs.max_tokens", "max_tokens takes 1 or more, not 0"));
  EXPECT_EQ(option("request_output_len", -1),
            Fault("inputs.request_output_len", "request_output_len takes 1 or more, not -1"));
  EXPECT_EQ(option("max_new_tokens", 0), Fault("inputs.max_new_tokens", "max_new_tokens takes 1 or more, not 0"));
  EXPECT_EQ(option("beam_width", 99), Fault("inputs.beam_width", "beam_width takes 1 to 8, not 99"));
  EXPECT_EQ(option("runtime_top_k", -5), Fault("inputs.runtime_top_k", "runtime_top_k takes 0 or more, not -5"));
  EXPECT_EQ(option("max_side", 1), Fault("inputs.max_side", "max_side takes 0, or 2 to 8192, not 1"));
  const auto json = fault_of([](auto& r) {
    AddBytes(r, "prompt", "a");
    AddBytes(r, "sampling_parameters", R"({"max_tokens": 3, "min_tokens": 5})");
  });
  EXPECT_EQ(json, Fault("inputs.min_tokens", "min_tokens takes at most max_tokens, not 5"));
  const auto long_text = [&](const std::string& name) {
    return fault_of([&](auto& r) { AddBytes(r, name, std::string(1 << 17, 'a')); });
  };
  EXPECT_EQ(long_text("text_input").second, "text_input takes at most 65536 bytes; there are 131072");
  EXPECT_EQ(long_text("question").first, "inputs.question");
  EXPECT_EQ(fault_of([](auto& r) { AddBytes(r, "question", " "); }).first, "inputs.question");
  EXPECT_EQ(fault_of([](auto& r) { AddBytes(r, "text_input", ""); }).first, "inputs.text_input");
  EXPECT_EQ(fault_of([](auto& r) { AddBytes(r, "image_bytes", "no image"); }).first, "inputs.image_bytes[0]");
  const auto id = fault_of([](auto& r) {
    AddBytes(r, "prompt", "a");
    r.set_id(std::string(300, 'x'));
  });
  EXPECT_EQ(id.first, "id");
  EXPECT_EQ(id.second.substr(0, 9), "id takes ");
}

TEST_F(InferRpcTest, AStreamSaysWhatTheGatewayRefusesInTheCallersNames) {
  grpc::ClientContext context;
  const auto stream = infer_->ModelStreamInfer(&context);
  inference::ModelInferRequest request;
  AddBytes(request, "prompt", "a");
  (*request.mutable_parameters())["max_tokens"].set_int64_param(0);
  stream->Write(request);
  stream->WritesDone();
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.error_message(), "OPTION_RANGE: max_tokens takes 1 or more, not 0");
}

TEST_F(InferRpcTest, ParametersOfTensorsAreRefusedByName) {
  inference::ModelInferRequest request;
  AddBytes(request, "prompt", "a");
  (*request.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("r");
  EXPECT_EQ(Infer(request).status().message(), "prompt has the parameter shared_memory_region, which is not served");
  request.mutable_inputs(0)->clear_parameters();
  auto& output = *request.add_outputs();
  output.set_name("text_output");
  (*output.mutable_parameters())["classification"].set_int64_param(2);
  EXPECT_EQ(Infer(request).status().message(), "text_output has the parameter classification, which is not served");
  output.set_name("logits");
  EXPECT_EQ(Infer(request).status().message(), "outputs names \"logits\", which ModelMetadata does not list");
}

TEST_F(InferRpcTest, FurtherNamesOfTheModelAreServed) {
  Options options;
  options.served_model_names = {"gpt-4o"};
  StartGateway(language_->target(), options);
  infer_ = inference::GRPCInferenceService::NewStub(channel_);
  grpc::ClientContext ready_context, metadata_context;
  inference::ModelReadyRequest model;
  model.set_name("gpt-4o");
  inference::ModelReadyResponse ready;
  EXPECT_TRUE(infer_->ModelReady(&ready_context, model, &ready).ok());
  EXPECT_TRUE(ready.ready());
  inference::ModelMetadataRequest request;
  request.set_name("gpt-4o");
  inference::ModelMetadataResponse metadata;
  EXPECT_TRUE(infer_->ModelMetadata(&metadata_context, request, &metadata).ok());
  EXPECT_EQ(metadata.name(), testing::FakeLanguageModel().name());
}

TEST_F(InferRpcTest, AStreamAnswersOneRequestAfterTheOtherAndOutlivesAFailure) {
  grpc::ClientContext context;
  const auto stream = infer_->ModelStreamInfer(&context);
  inference::ModelInferRequest request;
  AddBytes(request, "prompt", "a");
  request.set_id("first");
  stream->Write(request);
  request.set_id("faulty");
  request.mutable_inputs(0)->set_name("nothing");
  stream->Write(request);
  request.set_id("last");
  request.mutable_inputs(0)->set_name("prompt");
  stream->Write(request);
  stream->WritesDone();
  std::string text, order;
  inference::ModelStreamInferResponse response;
  while (stream->Read(&response)) {
    const auto& answer = response.infer_response();
    if (response.error_message().empty()) text += Output(answer, "text_output");
    if (answer.parameters().at("triton_final_response").bool_param()) order += answer.id() + " ";
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(text, "a red circlea red circle");
  EXPECT_EQ(order, "first faulty last ");
}

// While the tier answers, of an image as large as 16 MiB.
TEST_F(InferRpcTest, AQuestionTakesNoMoreMemoryThanByTheGatewaysOwnMethod) {
  size_t allocated = 0;
  testing::FakeLanguageTier tier([&](int, grpc::ServerContext*, const auto&, auto* writer) {
    const struct mallinfo2 info = mallinfo2();
    allocated = info.uordblks + info.hblkhd;
    writer->Write(testing::StartedMessage());
    writer->Write(testing::FinishedMessage(""));
    return grpc::Status::OK;
  });
  StartGateway(tier.target());
  infer_ = inference::GRPCInferenceService::NewStub(channel_);
  const std::string image = testing::GoodPng() + std::string(16 << 20, '\0');
  // What was sent is freed a little sooner or later: the least that such a call takes, or the first that is no more
  // than `enough`.
  const auto least = [&](const auto& call, int calls, size_t enough) {
    size_t least = SIZE_MAX;
    for (int i = 0; i < calls && least > enough; ++i) {
      call();
      least = std::min(least, allocated);
    }
    return least;
  };
  v1::AskRequest ask;
  ask.mutable_question()->add_images()->set_data(image);
  inference::ModelInferRequest request;
  AddBytes(request, "image", image);
  const size_t own = least(
      [&] {
        grpc::ClientContext context;
        v1::AskResponse response;
        EXPECT_TRUE(stub_->Ask(&context, ask, &response).ok());
      },
      3, 0);
  const size_t most = own + image.size() / 2;
  const size_t unary = least([&] { EXPECT_TRUE(Infer(request).ok()); }, 50, most);
  const size_t streamed = least(
      [&] {
        grpc::ClientContext context;
        const auto stream = infer_->ModelStreamInfer(&context);
        stream->Write(request);
        inference::ModelStreamInferResponse response;
        EXPECT_TRUE(stream->Read(&response));
        stream->WritesDone();
        EXPECT_TRUE(stream->Finish().ok());
      },
      50, most);
  EXPECT_LE(unary, most);
  EXPECT_LE(streamed, most);
}

TEST_F(InferRpcTest, ACancelledStreamGivesItsPlaceBack) {
  testing::FakeLanguageTier endless([](int, grpc::ServerContext* context, const auto&, auto* writer) {
    writer->Write(testing::StartedMessage());
    writer->Write(testing::DeltaMessage("a", 5));
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return grpc::Status::CANCELLED;
  });
  StartGateway(endless.target());
  infer_ = inference::GRPCInferenceService::NewStub(channel_);
  const auto running = [this] { return gateway_->Metrics().find("diptych_requests_running 0\n") == std::string::npos; };
  grpc::ClientContext context;
  const auto stream = infer_->ModelStreamInfer(&context);
  inference::ModelInferRequest request;
  AddBytes(request, "prompt", "a");
  stream->Write(request);
  inference::ModelStreamInferResponse response;
  ASSERT_TRUE(stream->Read(&response));
  EXPECT_TRUE(running());
  context.TryCancel();
  stream->Finish();
  for (int i = 0; running() && i < 5000; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(running());
}

TEST_F(InferRpcTest, SaysWhatIsServed) {
  grpc::ClientContext live_context, ready_context, model_context, other_context, metadata_context;
  inference::ServerLiveResponse live;
  EXPECT_TRUE(infer_->ServerLive(&live_context, {}, &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  EXPECT_TRUE(infer_->ServerReady(&ready_context, {}, &ready).ok());
  EXPECT_TRUE(ready.ready());
  inference::ModelReadyRequest model;
  model.set_name(testing::FakeLanguageModel().name());
  inference::ModelReadyResponse model_ready;
  EXPECT_TRUE(infer_->ModelReady(&model_context, model, &model_ready).ok());
  EXPECT_TRUE(model_ready.ready());
  model.set_name("other");
  EXPECT_TRUE(infer_->ModelReady(&other_context, model, &model_ready).ok());
  EXPECT_FALSE(model_ready.ready());
  inference::ModelMetadataRequest request;
  request.set_name(testing::FakeLanguageModel().name());
  inference::ModelMetadataResponse metadata;
  EXPECT_TRUE(infer_->ModelMetadata(&metadata_context, request, &metadata).ok());
  EXPECT_EQ(metadata.inputs(0).name(), "image");
}

}  // namespace
}  // namespace diptych::gateway
