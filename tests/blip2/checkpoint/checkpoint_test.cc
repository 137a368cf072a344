#include "blip2/checkpoint/checkpoint.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "blip2/checkpoint/tensor_names.h"
#include "tests/testing/paths.h"
#include "tests/testing/tiny_checkpoint.h"

namespace diptych::blip2 {
namespace {

namespace fs = std::filesystem;
using ::diptych::testing::SafetensorsBytes;
using ::diptych::testing::TinyCheckpoint;
using ::diptych::testing::TinyCheckpointConfig;
using ::diptych::testing::TinyCheckpointOptions;
using ::diptych::testing::TinyJsonFiles;
using ::diptych::testing::TinyTensors;
using ::diptych::testing::WriteFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Layout = TinyCheckpointOptions::Layout;

constexpr char kPostLayerNorm[] = "vision_model.post_layernorm.weight";
constexpr char kProjection[] = "language_projection.bias";

// Why a checkpoint is refused.
std::string ErrorOf(const TinyCheckpointOptions& options) {
  const TinyCheckpoint tiny(options);
  const auto checkpoint = Checkpoint::Open(tiny.folder());
  EXPECT_FALSE(checkpoint.ok());
  EXPECT_EQ(checkpoint.status().message().find('\n'), absl::string_view::npos);
  return std::string(checkpoint.status().message());
}

std::unique_ptr<Checkpoint> OpenOrDie(const fs::path& folder) {
  auto checkpoint = Checkpoint::Open(folder);
  EXPECT_TRUE(checkpoint.ok()) << folder.filename() << ": " << checkpoint.status();
  return checkpoint.ok() ? *std::move(checkpoint) : nullptr;
}

std::string FingerprintOf(const TinyCheckpointOptions& options) {
  const TinyCheckpoint tiny(options);
  return OpenOrDie(tiny.folder())->VisionFingerprint();
}

TEST(CheckpointTest, OpensTheDemoModel) {
  const auto checkpoint = OpenOrDie(testing::RepositoryPath("models/demo/"));
  ASSERT_NE(checkpoint, nullptr);
  EXPECT_EQ(checkpoint->name(), "demo");
  EXPECT_EQ(checkpoint->config().num_query_tokens, 16);
}

TEST(CheckpointTest, OpensEveryGoldenModel) {
  const fs::path goldens = testing::RepositoryPath("tests/goldens");
  int opened = 0;
  if (fs::is_directory(goldens)) {
    for (const auto& golden : fs::directory_iterator(goldens)) {
      if (!fs::exists(golden.path() / "model/config.json")) continue;
      EXPECT_NE(OpenOrDie(golden.path() / "model"), nullptr);
      ++opened;
    }
  }
  EXPECT_GE(opened, 8);
}

TEST(CheckpointTest, OpensEveryLayout) {
  for (const Layout layout : {Layout::kCurrent, Layout::kLegacy, Layout::kTransformers5}) {
    const TinyCheckpoint tiny({.layout = layout});
    const auto checkpoint = OpenOrDie(tiny.folder());
    ASSERT_NE(checkpoint, nullptr);
    EXPECT_EQ(checkpoint->config().image_token_id, TinyCheckpointConfig().image_token_id);
  }
}

TEST(CheckpointTest, OpensEveryShapeOfDecoder) {
  Config config = TinyCheckpointConfig();
  config.vision.qkv_bias = false;
  config.qformer.cross_attention_frequency = 1;
  config.text.word_embed_proj_dim = 16;
  config.text.do_layer_norm_before = false;
  config.text.enable_bias = false;
  const TinyCheckpoint post_norm({.config = config});
  EXPECT_NE(OpenOrDie(post_norm.folder()), nullptr);

  config.text.do_layer_norm_before = true;
  config.text.layer_norm_elementwise_affine = false;
  const TinyCheckpoint bare_norm({.config = config});
  EXPECT_NE(OpenOrDie(bare_norm.folder()), nullptr);
}

TEST(CheckpointTest, TakesItsNameFromTheFolder) {
  const TinyCheckpoint tiny;
  EXPECT_EQ(OpenOrDie(tiny.folder() / ".")->name(), tiny.folder().filename());
}

TEST(CheckpointTest, LoadsEachStoredTypeIntoEachServedType) {
  for (const char* stored : {"F32", "BF16", "F16"}) {
    const TinyCheckpoint tiny({.dtype = stored});
    const auto checkpoint = OpenOrDie(tiny.folder());
    const TinyCheckpoint whole({.dtype = "F32"});
    const at::Tensor expected = OpenOrDie(whole.folder())->Load(kEmbedTokens, Placement{});
    for (const auto dtype : {at::ScalarType::Float, at::ScalarType::BFloat16, at::ScalarType::Half}) {
      const at::Tensor loaded = checkpoint->Load(kEmbedTokens, Placement{.dtype = dtype});
      EXPECT_EQ(loaded.scalar_type(), dtype);
      EXPECT_TRUE(loaded.is_contiguous());
      ASSERT_EQ(loaded.sizes(), expected.sizes());
      EXPECT_TRUE(at::allclose(loaded.to(at::kFloat), expected, /*rtol=*/0.01, /*atol=*/0.001)) << stored;
    }
  }
}

TEST(CheckpointTest, LoadedTensorsOutliveTheCheckpoint) {
  at::Tensor loaded;
  {
    const TinyCheckpoint tiny;
    loaded = OpenOrDie(tiny.folder())->Load(kPostLayerNorm, Placement{});
  }
  EXPECT_TRUE(at::isfinite(loaded).all().item<bool>());
}

TEST(CheckpointTest, LoadsTensorsThatTheFileDoesNotAlign) {
  const TinyCheckpoint tiny;
  const at::Tensor expected = OpenOrDie(tiny.folder())->Load(kEmbedTokens, Placement{});
  std::string bytes = SafetensorsBytes(diptych::testing::RandomTensors(TinyCheckpointConfig(), "F32", 1));
  bytes.insert(bytes.begin() + 8, ' ');  // one more byte of header
  bytes[0] = static_cast<char>(bytes[0] + 1);
  WriteFile(tiny.folder() / "model.safetensors", bytes);
  EXPECT_TRUE(at::equal(OpenOrDie(tiny.folder())->Load(kEmbedTokens, Placement{}), expected));
}

TEST(CheckpointTest, CountsAnOutputMatrixOnlyIfItDiffersFromTheEmbedding) {
  const TinyCheckpoint stored_once;
  EXPECT_FALSE(OpenOrDie(stored_once.folder())->Has(kLmHead));
  const TinyCheckpoint stored_twice({.layout = Layout::kLegacy});
  EXPECT_FALSE(OpenOrDie(stored_twice.folder())->Has(kLmHead));

  const TinyCheckpoint differs({.layout = Layout::kLegacy, .edit_tensors = [](TinyTensors& tensors) {
                                  tensors.at(std::string(kLmHead)).bytes[1] ^= 1;
                                }});
  EXPECT_TRUE(OpenOrDie(differs.folder())->Has(kLmHead));
  Config config = TinyCheckpointConfig();
  config.text.tie_word_embeddings = false;
  const TinyCheckpoint untied({.config = config});
  EXPECT_TRUE(OpenOrDie(untied.folder())->Has(kLmHead));
}

TEST(CheckpointTest, AcceptsPositionIdBuffers) {
  const TinyCheckpoint tiny({.edit_tensors = [](TinyTensors& tensors) {
    tensors["qformer.embeddings.position_ids"] = {.dtype = "I64", .shape = {1, 2}, .bytes = std::string(16, '\0')};
  }});
  const auto checkpoint = OpenOrDie(tiny.folder());
  ASSERT_NE(checkpoint, nullptr);
  const at::Tensor ids =
      checkpoint->Load("qformer.embeddings.position_ids", Placement{.dtype = at::ScalarType::BFloat16});
  EXPECT_EQ(ids.scalar_type(), at::ScalarType::Long);
}

TEST(CheckpointTest, RefusesAMissingTensor) {
  EXPECT_THAT(ErrorOf({.edit_tensors = [](TinyTensors& t) { t.erase(kPostLayerNorm); }}),
              AllOf(HasSubstr("missing"), HasSubstr(kPostLayerNorm)));
}

TEST(CheckpointTest, RefusesAnUntiedModelWithoutOutputMatrix) {
  Config config = TinyCheckpointConfig();
  config.text.tie_word_embeddings = false;
  EXPECT_THAT(ErrorOf({.config = config, .edit_tensors = [](TinyTensors& t) { t.erase(std::string(kLmHead)); }}),
              AllOf(HasSubstr("missing"), HasSubstr(std::string(kLmHead))));
}

TEST(CheckpointTest, RefusesATensorThatTheModelDoesNotHave) {
  EXPECT_THAT(ErrorOf({.edit_tensors = [](TinyTensors& t) { t["itm_head.bias"] = t.at(kProjection); }}),
              AllOf(HasSubstr("not part of the model"), HasSubstr("itm_head.bias")));
}

TEST(CheckpointTest, RefusesAReshapedTensor) {
  EXPECT_THAT(ErrorOf({.edit_tensors =
                           [](TinyTensors& t) {
                             t.at(kProjection).shape = {4, 8};
                           }}),
              AllOf(HasSubstr(kProjection), HasSubstr("expected [32], got [4, 8]")));
}

TEST(CheckpointTest, RefusesAMisshapenOutputMatrix) {
  EXPECT_THAT(ErrorOf({.layout = Layout::kLegacy,
                       .edit_tensors =
                           [](TinyTensors& t) {
                             t.at(std::string(kLmHead)).shape = {32, 288};
                           }}),
              AllOf(HasSubstr(std::string(kLmHead)), HasSubstr("expected [288, 32]")));
}

TEST(CheckpointTest, RefusesAWeightOfIntegers) {
  EXPECT_THAT(ErrorOf({.edit_tensors =
                           [](TinyTensors& t) {
                             t.at(kProjection) = {.dtype = "I64", .shape = {32}, .bytes = std::string(256, '\0')};
                           }}),
              AllOf(HasSubstr(kProjection), HasSubstr("integers")));
}

TEST(CheckpointTest, RefusesTheSplitBiasOfEarlyCheckpointsWithARemedy) {
  const std::string name = "vision_model.encoder.layers.0.self_attn.q_bias";
  EXPECT_THAT(ErrorOf({.edit_tensors = [&](TinyTensors& t) { t[name] = t.at(kProjection); }}),
              AllOf(HasSubstr(name), HasSubstr("current transformers")));
}

TEST(CheckpointTest, ShowsHostileNamesOnOneLine) {
  EXPECT_THAT(ErrorOf({.edit_tensors =
                           [](TinyTensors& t) { t["evil\n\x1b[31m" + std::string(400, 'x')] = t.at(kProjection); }}),
              AllOf(HasSubstr("evil\\n\\x1b[31m"), Not(HasSubstr(std::string(201, 'x')))));
}

TEST(CheckpointTest, RefusesAFolderOfPicklesWithARemedy) {
  const TinyCheckpoint tiny;
  fs::remove(tiny.folder() / "model.safetensors");
  EXPECT_THAT(std::string(Checkpoint::Open(tiny.folder()).status().message()),
              HasSubstr("model.safetensors: no such file"));
  WriteFile(tiny.folder() / "pytorch_model.bin", "pickle");
  const auto checkpoint = Checkpoint::Open(tiny.folder());
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(checkpoint.status().message()), AllOf(HasSubstr("pytorch_model.bin"), HasSubstr("convert")));
}

TEST(CheckpointTest, RefusesAPathThatIsNotAFolder) {
  EXPECT_EQ(Checkpoint::Open("/nowhere").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Checkpoint::Open(__FILE__).status().code(), absl::StatusCode::kNotFound);
}

// Options for a sharded checkpoint whose index is edited.
TinyCheckpointOptions WithIndex(std::function<void(nlohmann::json& weight_map)> edit) {
  return {.shards = 3, .edit_json = [edit](TinyJsonFiles& files) {
            edit(files.at("model.safetensors.index.json").at("weight_map"));
          }};
}

TEST(CheckpointTest, ShardsHoldTheSameWeights) {
  const TinyCheckpoint single;
  const TinyCheckpoint sharded({.shards = 3});
  const auto one = OpenOrDie(single.folder());
  const auto three = OpenOrDie(sharded.folder());
  ASSERT_NE(three, nullptr);
  for (const TensorSpec& spec : ExpectedTensors(one->config())) {
    EXPECT_TRUE(at::equal(one->Load(spec.name, {}), three->Load(spec.name, {}))) << spec.name;
  }
}

TEST(CheckpointTest, RefusesShardsOutsideTheFolder) {
  for (const char* shard : {"../model.safetensors", "/etc/model.safetensors", "a/model.safetensors", "..", "passwd"}) {
    EXPECT_THAT(ErrorOf(WithIndex([&](nlohmann::json& map) { map[kProjection] = shard; })),
                AllOf(HasSubstr(kProjection), HasSubstr("not the name of a .safetensors file")))
        << shard;
  }
  EXPECT_THAT(ErrorOf(WithIndex([](nlohmann::json& map) { map[kProjection] = 7; })), HasSubstr(kProjection));
}

TEST(CheckpointTest, RefusesAMissingShard) {
  const TinyCheckpoint tiny({.shards = 3});
  fs::remove(tiny.folder() / "model-00002-of-00003.safetensors");
  const auto checkpoint = Checkpoint::Open(tiny.folder());
  EXPECT_EQ(checkpoint.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr("model-00002-of-00003.safetensors"));
}

TEST(CheckpointTest, RefusesATensorInAnotherShardThanTheIndexSays) {
  EXPECT_THAT(ErrorOf(WithIndex([](nlohmann::json& map) {
                const std::string here = map[kProjection];
                map[kProjection] = here == "model-00001-of-00003.safetensors" ? "model-00002-of-00003.safetensors"
                                                                              : "model-00001-of-00003.safetensors";
              })),
              HasSubstr(kProjection));
}

TEST(CheckpointTest, RefusesATensorThatTheIndexDoesNotName) {
  EXPECT_THAT(ErrorOf(WithIndex([](nlohmann::json& map) { map.erase(kProjection); })),
              AllOf(HasSubstr(kProjection), HasSubstr("does not place it here")));
}

TEST(CheckpointTest, RefusesAnIndexThatNamesWhatNoShardHolds) {
  EXPECT_THAT(ErrorOf(WithIndex([](nlohmann::json& map) { map["ghost"] = "model-00001-of-00003.safetensors"; })),
              AllOf(HasSubstr("ghost"), HasSubstr("but it is not")));
}

TEST(CheckpointTest, RefusesAnIndexWithoutWeightMap) {
  EXPECT_THAT(ErrorOf({.shards = 2,
                       .edit_json =
                           [](TinyJsonFiles& files) {
                             files["model.safetensors.index.json"] = {{"weight_map", 3}};
                           }}),
              HasSubstr("weight_map"));
}

TEST(CheckpointTest, RefusesATruncatedFile) {
  const TinyCheckpoint tiny;
  const fs::path file = tiny.folder() / "model.safetensors";
  fs::resize_file(file, fs::file_size(file) - 1);
  EXPECT_THAT(std::string(Checkpoint::Open(tiny.folder()).status().message()),
              AllOf(HasSubstr("model.safetensors"), HasSubstr("vision_model.post_layernorm.weight"),
                    HasSubstr("outside the file")));
}

TEST(VisionFingerprintTest, IsTheSameForShardsAndForASingleFile) {
  EXPECT_EQ(FingerprintOf({}), FingerprintOf({.shards = 3}));
  EXPECT_EQ(FingerprintOf({}).size(), 64);
}

TEST(VisionFingerprintTest, DiffersWithWeightsConfigurationAndPreprocessing) {
  const std::string original = FingerprintOf({});
  EXPECT_NE(FingerprintOf({.seed = 2}), original);
  EXPECT_NE(FingerprintOf({.dtype = "BF16"}), original);
  Config config = TinyCheckpointConfig();
  config.vision.layer_norm_eps = 1e-5;
  EXPECT_NE(FingerprintOf({.config = config}), original);
  config = TinyCheckpointConfig();
  config.image_processor.image_mean[1] += 0.001;
  EXPECT_NE(FingerprintOf({.config = config}), original);
  EXPECT_NE(FingerprintOf({.edit_tensors = [](TinyTensors& t) { t.at(kPostLayerNorm).bytes[0] ^= 1; }}), original);
}

TEST(VisionFingerprintTest, DoesNotDependOnTheRestOfTheModel) {
  EXPECT_EQ(FingerprintOf({}),
            FingerprintOf({.edit_tensors = [](TinyTensors& t) { t.at(kProjection).bytes[0] ^= 1; }}));
}

TEST(VisionFingerprintTest, SamplesTheEndsOfLargeTensors) {
  Config config = TinyCheckpointConfig();
  config.vision.intermediate_size = 1024;  // mlp.fc1.weight: 128 KiB
  const std::string fc1 = "vision_model.encoder.layers.0.mlp.fc1.weight";
  const std::string original = FingerprintOf({.config = config});
  EXPECT_NE(FingerprintOf({.config = config, .edit_tensors = [&](TinyTensors& t) { t.at(fc1).bytes.front() ^= 1; }}),
            original);
  EXPECT_NE(FingerprintOf({.config = config, .edit_tensors = [&](TinyTensors& t) { t.at(fc1).bytes.back() ^= 1; }}),
            original);
}

}  // namespace
}  // namespace diptych::blip2
