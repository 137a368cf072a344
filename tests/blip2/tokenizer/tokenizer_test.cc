#include "blip2/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "tests/testing/paths.h"

namespace diptych::blip2 {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

const std::filesystem::path kData = testing::RepositoryPath("tests/data/tokenizer");

Tokenizer LoadOrDie(const std::filesystem::path& folder) {
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(folder);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

struct GoldenTokens {
  std::string text;
  std::vector<int64_t> ids;  // with the beginning-of-sequence token, special tokens recognised
};

// tokenizers 0.23.3 over tests/data/tokenizer/single/tokenizer.json.
const std::vector<GoldenTokens>& SmallGoldens() {
  static const std::vector<GoldenTokens> goldens = {
      {"", {2}},
      {"hello world", {2, 75, 72, 79, 314, 224, 90, 82, 85, 79, 71}},
      {"Question: what color is the circle? Answer:", {2, 301, 29, 334, 339, 85, 293, 262, 338, 348, 34, 299, 29}},
      {" a photo of", {2, 285, 333, 322, 332}},
      {"they've don't 'S it's IT'S", {2, 335, 92, 304, 329, 303, 224, 10, 54, 294, 302, 224, 44, 55, 10, 54}},
      {"café 日本 😀", {2, 309, 300, 224, 176, 257, 250, 226}},
      {"1234 12²½", {2, 343, 286, 130, 114, 130, 125}},
      {"     four\n\n end \t ", {2, 342, 224, 73, 82, 88, 85, 284, 224, 72, 81, 71, 224, 201, 224}},
      {"a\u0085b\u00a0c\u3000d\u180ee\u200bf",
       {2, 68, 130, 231, 69, 130, 258, 70, 163, 226, 226, 71, 161, 258, 240, 72, 162, 226, 237, 73}},
      {std::string("x\u0301 \ufffd\0", 8), {2, 91, 140, 227, 224, 175, 127, 125, 192}},
      {"a</s>b <image> c<pad><s><unk>", {2, 68, 2, 69, 224, 350, 264, 1, 31, 86, 33, 31, 88, 81, 78, 33}},
  };
  return goldens;
}

// Runs on the vocabulary in the layout of transformers 5 and on the same one in GPT-2's layout.
class SmallTokenizerTest : public ::testing::TestWithParam<std::string> {
 protected:
  const Tokenizer tokenizer_ = LoadOrDie(kData / GetParam());
};

INSTANTIATE_TEST_SUITE_P(Layouts, SmallTokenizerTest, ::testing::Values("single", "separate"),
                         [](const auto& test) { return test.param; });

TEST_P(SmallTokenizerTest, EncodesAsHuggingFaceTokenizersDoes) {
  for (const GoldenTokens& golden : SmallGoldens()) {
    EXPECT_THAT(tokenizer_.EncodeWithSpecialTokens(golden.text), ElementsAreArray(golden.ids)) << golden.text;
  }
}

TEST_P(SmallTokenizerTest, KnowsItsSpecialTokensAndItsSize) {
  EXPECT_EQ(tokenizer_.bos_token_id(), 2);
  EXPECT_EQ(tokenizer_.vocab_size(), 351);
  for (const int64_t id : {1, 2, 350}) {
    EXPECT_TRUE(tokenizer_.IsSpecial(id)) << id;
    EXPECT_EQ(tokenizer_.BytesOf(id), "") << id;
  }
  for (const int64_t id : {-1, 0, 3, 349, 351}) EXPECT_FALSE(tokenizer_.IsSpecial(id)) << id;
}

TEST_P(SmallTokenizerTest, UserTextNeverBecomesASpecialToken) {
  for (const std::string text : {"a</s>b <image> c<pad>", "<image>", "<<image>/s>"}) {
    const std::vector<int64_t> ids = tokenizer_.Encode(text);
    for (const int64_t id : ids) EXPECT_FALSE(tokenizer_.IsSpecial(id)) << text;
    EXPECT_EQ(tokenizer_.Decode(ids), text);
  }
}

TEST_P(SmallTokenizerTest, DecodeLeavesOutSpecialAndUnknownIds) {
  EXPECT_EQ(tokenizer_.Decode(std::vector<int64_t>{-5, 2, 350, 75, 1, 351, int64_t{1} << 40, 0}), "h<s>");
}

TEST_P(SmallTokenizerTest, EncodingIsReversible) {
  for (const GoldenTokens& golden : SmallGoldens())
    EXPECT_EQ(tokenizer_.Decode(tokenizer_.Encode(golden.text)), golden.text);
}

TEST_P(SmallTokenizerTest, InvalidUtf8IsReadAsReplacementCharacters) {
  EXPECT_EQ(tokenizer_.Encode("a\xff b\xe6\x97"), tokenizer_.Encode("a\ufffd b\ufffd"));
  EXPECT_EQ(tokenizer_.EncodeWithSpecialTokens("\xc0<pad>"), tokenizer_.EncodeWithSpecialTokens("\ufffd<pad>"));
}

TEST_P(SmallTokenizerTest, DecodesInvalidBytesAsReplacementCharacters) {
  std::vector<int64_t> ids = tokenizer_.Encode("日");
  const std::string bytes = "日";
  std::vector<int64_t> first_byte;
  for (int64_t id = 0; id < tokenizer_.vocab_size(); ++id) {
    if (tokenizer_.BytesOf(id) == bytes.substr(0, 1)) first_byte.push_back(id);
  }
  ASSERT_EQ(first_byte.size(), 1u);
  EXPECT_EQ(tokenizer_.Decode(std::vector<int64_t>{first_byte[0], first_byte[0], 68}), "\ufffd\ufffd\u0061");
}

TEST_P(SmallTokenizerTest, LongWordsTakeNoQuadraticTime) {
  // A quadratic merge would take hours.
  constexpr size_t kMebibyte = size_t{1} << 20;
  for (const char c : {' ', 'a', '!', '\n'}) {
    const std::string text(kMebibyte, c);
    EXPECT_EQ(tokenizer_.Decode(tokenizer_.Encode(text)), text);
  }
}

TEST_P(SmallTokenizerTest, StreamedTextIsTheDecodedText) {
  std::mt19937 random(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<int64_t> ids(random() % 30);
    // Mostly single bytes, so that characters break in every way.
    for (int64_t& id : ids) id = static_cast<int64_t>(random() % (round % 2 == 0 ? 360 : 250)) - 2;
    StreamDecoder decoder(tokenizer_);
    std::string streamed;
    for (const int64_t id : ids) streamed += decoder.Push(id);
    streamed += decoder.Finish();
    EXPECT_EQ(streamed, tokenizer_.Decode(ids));
  }
}

TEST_P(SmallTokenizerTest, StreamHoldsBackAnUnfinishedCharacterOnly) {
  const std::vector<int64_t> ids = tokenizer_.Encode("x😀");  // the emoji is no single token
  StreamDecoder decoder(tokenizer_);
  EXPECT_EQ(decoder.Push(ids[0]), "x");
  for (size_t i = 1; i + 1 < ids.size(); ++i) EXPECT_EQ(decoder.Push(ids[i]), "");
  EXPECT_EQ(decoder.Push(ids.back()), "😀");
  EXPECT_EQ(decoder.Finish(), "");

  decoder.Push(ids[1]);
  EXPECT_EQ(decoder.Finish(), "\ufffd");
  EXPECT_EQ(decoder.Finish(), "") << "Finish starts anew";
}

// The encodings of OPT's own vocabulary, which is not in the repository.
class OptTokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path source = testing::RepositoryPath("../shared/data/opt_tokenizer");
    if (!std::filesystem::exists(source / "vocab.json")) GTEST_SKIP() << "OPT's vocabulary is not at " << source;
    folder_ = std::filesystem::path(::testing::TempDir()) / "opt_tokenizer";
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    for (const char* file : {"vocab.json", "merges.txt"}) {
      std::filesystem::create_symlink(std::filesystem::canonical(source / file), folder_ / file);
    }
    std::ofstream(folder_ / "added_tokens.json") << R"({"<image>": 50265})";
  }

  std::filesystem::path folder_;
};

TEST_F(OptTokenizerTest, EncodesAsTransformersDoes) {
  const Tokenizer tokenizer = LoadOrDie(folder_);
  const std::vector<GoldenTokens> goldens = {
      {"", {2}},
      {"hello world", {2, 42891, 232}},
      {"a photo of", {2, 102, 1345, 9}},
      {" a photo of", {2, 10, 1345, 9}},
      {"\n", {2, 50118}},
      {"...---...", {2, 734, 24965, 734}},
      {"Question: which city is this? Answer:", {2, 45641, 35, 61, 343, 16, 42, 116, 31652, 35}},
      {"Question: how many cats are there? Answer:", {2, 45641, 35, 141, 171, 10017, 32, 89, 116, 31652, 35}},
      {"I'LL say it's  three   spaces\n\nend ",
       {2, 100, 108, 6006, 224, 24, 18, 1437, 130, 1437, 1437, 5938, 50118, 50118, 1397, 1437}},
      {"tab\tand\r\nCRLF", {2, 34108, 50117, 463, 50121, 50118, 347, 17868, 597}},
      {"2023年、東京 is 日本",
       {2, 844, 1922, 47168, 20024, 47341, 48414, 15389, 46499, 11582, 16, 47416, 6800, 8210, 44636, 11582}},
      {"caf\u00e9 na\u00efve 😀!", {2, 438, 2001, 1140, 39300, 17841, 7471, 328}},
      {"don't they've we'd 'S", {2, 7254, 75, 51, 348, 52, 1017, 128, 104}},
      {"1234567 3.14 x²", {2, 19644, 1898, 4111, 155, 4, 1570, 3023, 40632}},
      {"\u00a0nbsp\u3000x", {2, 50141, 282, 39596, 48516, 7471, 1178}},
      {"a</s>b <image> c", {2, 102, 2, 428, 1437, 50265, 740}},
      {"supercalifragilisticexpialidocious", {2, 16101, 11762, 1594, 18937, 718, 661, 2463, 44813, 2617, 808, 42148}},
  };
  for (const GoldenTokens& golden : goldens) {
    EXPECT_THAT(tokenizer.EncodeWithSpecialTokens(golden.text), ElementsAreArray(golden.ids)) << golden.text;
  }
  EXPECT_EQ(tokenizer.vocab_size(), 50266);
}

TEST_F(OptTokenizerTest, DecodesAsTransformersDoes) {
  const Tokenizer tokenizer = LoadOrDie(folder_);
  EXPECT_EQ(tokenizer.Decode(std::vector<int64_t>{50265, 2, 102, 693, 2828, 15, 5, 4105, 19, 10, 2335, 50118}),
            "a woman sitting on the beach with a dog\n");
  EXPECT_EQ(tokenizer.Decode(std::vector<int64_t>{0, 1, 2, 3, 50264, 50265, 50271}), "<s><unk><mask>");
  EXPECT_THAT(tokenizer.Encode("a</s>b"), ElementsAre(102, 49138, 29, 15698, 428));
}

}  // namespace
}  // namespace diptych::blip2
