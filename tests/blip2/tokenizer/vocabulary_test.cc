#include "blip2/tokenizer/vocabulary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/testing/paths.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::filesystem::path kVocabularyFiles = testing::RepositoryPath("tests/data/tokenizer");

class VocabularyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string name = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    folder_ = std::filesystem::path(::testing::TempDir()) / ("vocabulary_" + name);
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // tokenizer.json as transformers 5 saves it, changed by `change`.
  absl::Status LoadChanged(const std::function<void(json&)>& change) {
    json file = json::parse(std::ifstream(kVocabularyFiles / "single/tokenizer.json"));
    change(file);
    Write("tokenizer.json", file.dump());
    return LoadVocabulary(folder_).status();
  }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  void CopySeparateFiles() {
    std::filesystem::copy(kVocabularyFiles / "separate", folder_, std::filesystem::copy_options::recursive);
  }

  std::filesystem::path folder_;
};

void ExpectInvalid(const absl::Status& status, const std::string& file, const std::string& reason) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), StartsWith(file + ": "));
  EXPECT_THAT(std::string(status.message()), HasSubstr(reason));
}

TEST_F(VocabularyTest, AcceptsMergesInBothForms) {
  EXPECT_TRUE(LoadChanged([](json& file) {}).ok());
  EXPECT_TRUE(LoadChanged([](json& file) {
                for (json& merge : file["model"]["merges"]) {
                  if (merge.is_array()) merge = merge[0].get<std::string>() + " " + merge[1].get<std::string>();
                }
              }).ok());
}

TEST_F(VocabularyTest, AcceptsTheSplitFormOfGpt2Pattern) {
  const auto status = LoadChanged([](json& file) {
    file["pre_tokenizer"] = json::parse(R"re({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
         "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"}},
        {"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}]})re");
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST_F(VocabularyTest, RefusesAnotherTokenizer) {
  const auto refuses = [&](const char* pointer, const json& value, const char* reason) {
    ExpectInvalid(LoadChanged([&](json& file) { file[json::json_pointer(pointer)] = value; }), "tokenizer.json",
                  reason);
  };
  refuses("/model/type", "Unigram", "model.type");
  refuses("/model/ignore_merges", true, "model.ignore_merges");
  refuses("/model/dropout", 0.1, "model.dropout");
  refuses("/model/end_of_word_suffix", "</w>", "model.end_of_word_suffix");
  refuses("/pre_tokenizer/add_prefix_space", true, "pre_tokenizer");
  refuses("/pre_tokenizer/use_regex", false, "pre_tokenizer");
  refuses("/pre_tokenizer", json{{"type", "Whitespace"}}, "pre_tokenizer");
  refuses("/pre_tokenizer", nullptr, "pre_tokenizer");
  refuses("/pre_tokenizer", json{{"type", "Sequence"}, {"pretokenizers", json::array()}}, "pre_tokenizer");
  refuses("/normalizer", json{{"type", "NFC"}}, "normalizer");
  refuses("/post_processor", json{{"type", "BertProcessing"}}, "post_processor");
}

TEST_F(VocabularyTest, RefusesBadIds) {
  const auto refuses = [&](const json& id, const char* reason) {
    ExpectInvalid(LoadChanged([&](json& file) { file["model"]["vocab"]["!"] = id; }), "tokenizer.json", reason);
  };
  refuses(-1, "not an integer in");
  refuses(int64_t{1} << 20, "not an integer in");
  refuses(18446744073709551615u, "not an integer in");
  refuses(4.0, "not an integer in");
  refuses("4", "not an integer in");
  refuses(nullptr, "not an integer in");
  refuses(5, "two tokens have id 5");
}

TEST_F(VocabularyTest, RefusesAByteWithoutAToken) {
  ExpectInvalid(LoadChanged([](json& file) { file["model"]["vocab"].erase("!"); }), "tokenizer.json",
                "byte 33 has no token");
  ExpectInvalid(LoadChanged([](json& file) { file["model"]["vocab"] = json::object(); }), "tokenizer.json",
                "names a token");
}

TEST_F(VocabularyTest, RefusesMergesThatDoNotFit) {
  const auto refuses = [&](const json& merge, const char* reason) {
    ExpectInvalid(LoadChanged([&](json& file) { file["model"]["merges"].push_back(merge); }), "tokenizer.json", reason);
  };
  refuses({"nobody", "knows"}, "names a token that is not in the vocabulary");
  refuses({"!", "?"}, "makes a token that is not in the vocabulary");
  refuses({"t", "h"}, "is there twice");
  refuses("t h e", "not two tokens");
  refuses("th", "not two tokens");
  refuses({"t", "h", "e"}, "neither");
  refuses(7, "neither");
}

TEST_F(VocabularyTest, RefusesMergesThatSpellASpecialToken) {
  const auto status = LoadChanged([](json& file) {
    file["model"]["vocab"]["</"] = 400;
    file["model"]["vocab"]["s>"] = 401;
    file["model"]["merges"].push_back({"<", "/"});
    file["model"]["merges"].push_back({"s", ">"});
    file["model"]["merges"].push_back({"</", "s>"});
  });
  ExpectInvalid(status, "tokenizer.json", "makes a special token");
}

TEST_F(VocabularyTest, RefusesAddedTokensThatDoNotFit) {
  const auto refuses = [&](const json& token, const char* reason) {
    ExpectInvalid(LoadChanged([&](json& file) { file["added_tokens"].push_back(token); }), "tokenizer.json", reason);
  };
  refuses({{"id", 350}, {"content", "<other>"}}, "two tokens have id 350");
  refuses({{"id", 9}, {"content", "</s>"}}, "another id");
  refuses({{"id", 500}, {"content", ""}}, "no text");
  refuses({{"content", "<other>"}}, "no id");
  refuses("<other>", "no id");
}

TEST_F(VocabularyTest, RefusesAMissingBeginningOfSequenceToken) {
  ExpectInvalid(LoadChanged([](json& file) { file["post_processor"]["single"][0]["SpecialToken"]["id"] = "<none>"; }),
                "tokenizer.json", "<none>");
}

TEST_F(VocabularyTest, RefusesBrokenFiles) {
  const auto refuses = [&](const std::string& text, const char* reason) {
    Write("tokenizer.json", text);
    ExpectInvalid(LoadVocabulary(folder_).status(), "tokenizer.json", reason);
  };
  refuses("", "not JSON");
  refuses("{\"model\": ", "not JSON");
  refuses("[]", "not a JSON object");
  refuses("{\"a\": \"\xff\"}", "not JSON");
  refuses(std::string(100000, '['), "nested deeper");
  refuses(std::string((size_t{64} << 20) + 1, ' '), "longer than");
  refuses("{}", "pre_tokenizer");
}

TEST_F(VocabularyTest, SpecialTokensComeFromTokenizerConfigWhereTheVocabularyNamesNone) {
  CopySeparateFiles();
  Write("tokenizer_config.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": "<pad>"})");
  const auto vocabulary = LoadVocabulary(folder_);
  ASSERT_TRUE(vocabulary.ok()) << vocabulary.status();
  EXPECT_EQ(vocabulary->bos_token_id, 0);
  EXPECT_TRUE(vocabulary->special[0]);
  EXPECT_FALSE(vocabulary->special[3]);

  Write("tokenizer_config.json", R"({"add_prefix_space": true})");
  ExpectInvalid(LoadVocabulary(folder_).status(), "tokenizer_config.json", "add_prefix_space");
  Write("tokenizer_config.json", R"({"bos_token": 7})");
  ExpectInvalid(LoadVocabulary(folder_).status(), "tokenizer_config.json", "bos_token");
}

TEST_F(VocabularyTest, NamesTheSeparateFileThatIsMissing) {
  EXPECT_EQ(LoadVocabulary(folder_).status().code(), absl::StatusCode::kNotFound);
  CopySeparateFiles();
  std::filesystem::remove(folder_ / "merges.txt");
  const absl::Status status = LoadVocabulary(folder_).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), StartsWith("merges.txt: "));
}

TEST_F(VocabularyTest, NamesTheSeparateFileThatIsWrong) {
  CopySeparateFiles();
  Write("merges.txt", "#version: 0.2\r\nt h\r\n\r\nh e\r\n");
  ExpectInvalid(LoadVocabulary(folder_).status(), "merges.txt", "merge 2 makes a token");
  Write("merges.txt", std::string((size_t{16} << 20) + 1, '\n'));
  ExpectInvalid(LoadVocabulary(folder_).status(), "merges.txt", "bytes");
  Write("merges.txt", "t h\n");
  EXPECT_TRUE(LoadVocabulary(folder_).ok());
  Write("added_tokens.json", R"({"<image>": -1})");
  ExpectInvalid(LoadVocabulary(folder_).status(), "added_tokens.json", "not an integer in");
}

}  // namespace
}  // namespace diptych::blip2
