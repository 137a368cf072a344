// A language service with a tiny checkpoint, whose model and vision tier a test can bend.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "language_service/server.h"
#include "tests/language_service/language_client.h"
#include "tests/testing/fake_tiers.h"
#include "tests/testing/sample_images.h"
#include "tests/testing/scripted_vision_tier.h"
#include "tests/testing/tiny_checkpoint.h"

namespace diptych::language::testing {

using namespace diptych::testing;  // NOLINT: one name for the doubles of this folder and of tests/testing

class LanguageFixture : public ::testing::Test {
 protected:
  LanguageFixture() {
    options_.model = checkpoint_.folder();
    options_.listen = "127.0.0.1:0";
    options_.threads = 1;
    options_.vision_target = DeadTarget();
  }

  // `bend` may change what the service sees of the model.
  void Start(std::function<void(ServedLanguageModel&)> bend = nullptr) {
    auto model = LoadLanguageModel(options_);
    ASSERT_TRUE(model.ok()) << model.status();
    if (bend) bend(*model);
    server_.reset();
    auto server = LanguageServer::Start(options_, *std::move(model));
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    stub_ = LanguageStub(server_->port());
  }

  // A vision tier that gives each call what `answer` makes of it, and the language service that asks it.
  void StartWithVision(ScriptedVisionTier::Answer answer, std::function<void(ServedLanguageModel&)> bend = nullptr) {
    vision_ = std::make_unique<ScriptedVisionTier>(std::move(answer));
    options_.vision_target = vision_->target();
    Start(std::move(bend));
  }

  // The true answer for the tiny checkpoint, at any resolution.
  static ScriptedAnswer True(const v1::EncodeImageRequest& request) {
    const auto config = TinyCheckpointConfig().vision;
    const int size = request.options().has_image_size() ? request.options().image_size() : 28;
    const int side = size / static_cast<int>(config.patch_size);
    return TrueAnswer(request, side * side + 1, static_cast<int>(config.hidden_size), size);
  }

  GenerateOutcome Ask(const v1::GenerateRequest& request) { return Generate(*stub_, request); }
  GenerateOutcome AskText() { return Ask(TextRequest("the cat")); }
  GenerateOutcome AskImage() { return Ask(RequestWithImage(GoodPng(), "the cat")); }

  void AwaitNobodyInside() {
    while (server_->calls_inside() > 0) std::this_thread::yield();
  }

  TinyCheckpoint checkpoint_;
  LanguageOptions options_;
  std::unique_ptr<ScriptedVisionTier> vision_;
  std::unique_ptr<LanguageServer> server_;
  std::unique_ptr<v1::LanguageService::Stub> stub_;
};

}  // namespace diptych::language::testing
