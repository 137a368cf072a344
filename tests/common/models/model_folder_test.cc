#include "common/models/model_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pwd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>

#include "common/models/hub_cache.h"
#include "common/models/model_family.h"

namespace diptych {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string kCommit(40, 'c');

class ModelFolderTest : public ::testing::Test {
 protected:
  ModelFolderTest() {
    for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME", "HF_HUB_OFFLINE"}) {
      unsetenv(name);
    }
    fs::remove_all(root_);
    setenv("HF_HOME", root_.c_str(), 1);
  }
  ~ModelFolderTest() override {
    unsetenv("HF_HOME");
    fs::remove_all(root_);
  }

  static void Write(const fs::path& file, const std::string& text = "{}") {
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  // Puts the files of a checkpoint there as the hub's client does.
  fs::path AddSnapshot(const std::string& repository, const std::string& revision) {
    const fs::path folder = RepositoryFolder(HubCache(), repository), snapshot = folder / "snapshots" / kCommit;
    Write(folder / "refs" / revision, kCommit);
    fs::create_directories(snapshot);
    for (const char* file : {"config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"}) {
      Write(folder / "blobs" / file);
      if (!fs::exists(snapshot / file)) fs::create_symlink(fs::path("../../blobs") / file, snapshot / file);
    }
    return snapshot;
  }
  static std::string Error(const std::string& model) {
    const auto folder = FindModelFolder(model);
    return folder.ok() ? "found " + *folder : std::string(folder.status().message());
  }

  const fs::path root_ = fs::temp_directory_path() / ("diptych_model_folder_test_" + std::to_string(getpid()));
};

TEST_F(ModelFolderTest, IsAFolderFirst) {
  Write(root_ / "org/name/config.json");
  const fs::path before = fs::current_path();
  AddSnapshot("org/name", "main");
  fs::current_path(root_);
  const auto folder = FindModelFolder("org/name");
  fs::current_path(before);
  EXPECT_EQ(folder.value(), "org/name");
}

TEST_F(ModelFolderTest, IsASnapshotOfTheCache) {
  const fs::path snapshot = AddSnapshot("org/name", "refs/pr/4");
  AddSnapshot("org/name", "main");
  EXPECT_EQ(FindModelFolder("org/name").value(), snapshot);
  EXPECT_EQ(FindModelFolder("org/name@refs/pr/4").value(), snapshot);
  EXPECT_EQ(FindModelFolder("org/name@" + kCommit).value(), snapshot);
  EXPECT_EQ(FindModelFolder(snapshot.string()).value(), snapshot);
}

TEST_F(ModelFolderTest, VariablesInPathsAreReadAsPythonReadsThem) {
  setenv("DIPTYCH_TEST_FOLDER", "/somewhere", 1);
  for (const auto& [written, path] :
       std::map<std::string, std::string>{{"$DIPTYCH_TEST_FOLDER/hub", "/somewhere/hub"},
                                          {"${DIPTYCH_TEST_FOLDER}_2/hub", "/somewhere_2/hub"},
                                          {"/a$DIPTYCH_TEST_FOLDER/b", "/a/somewhere/b"},
                                          {"/a/$DIPTYCH_NOT_SET/b", "/a/$DIPTYCH_NOT_SET/b"},
                                          {"/a/${DIPTYCH_TEST_FOLDER", "/a/${DIPTYCH_TEST_FOLDER"},
                                          {"/a/$/${}/$", "/a/$/${}/$"}}) {
    setenv("HF_HUB_CACHE", written.c_str(), 1);
    EXPECT_EQ(HubCache(), path) << written;
  }
  unsetenv("HF_HUB_CACHE");
  unsetenv("DIPTYCH_TEST_FOLDER");
}

TEST_F(ModelFolderTest, TheCacheIsWhereTheVariablesSay) {
  EXPECT_EQ(HubCache(), root_ / "hub");
  setenv("HUGGINGFACE_HUB_CACHE", "/old", 1);
  EXPECT_EQ(HubCache(), "/old");
  setenv("HF_HUB_CACHE", "~/mine", 1);
  EXPECT_EQ(HubCache(), fs::path(getenv("HOME")) / "mine");
  setenv("HF_HUB_CACHE", "~root/mine", 1);
  EXPECT_EQ(HubCache(), fs::path(getpwnam("root")->pw_dir) / "mine");
  setenv("HF_HUB_CACHE", "~no-such-user/mine", 1);
  EXPECT_EQ(HubCache(), fs::current_path() / "~no-such-user/mine");
  unsetenv("HF_HUB_CACHE");
  unsetenv("HUGGINGFACE_HUB_CACHE");
  unsetenv("HF_HOME");
  EXPECT_EQ(HubCache(), fs::path(getenv("HOME")) / ".cache/huggingface/hub");
  setenv("XDG_CACHE_HOME", "/xdg", 1);
  EXPECT_EQ(HubCache(), "/xdg/huggingface/hub");
}

TEST_F(ModelFolderTest, WhatIsMissingIsSaidWithTheCommandThatGetsIt) {
  EXPECT_THAT(Error("org/name"), AllOf(HasSubstr("no folder " + (fs::current_path() / "org/name").string()),
                                       HasSubstr(HubCache().string()), HasSubstr("diptych pull org/name")));
  AddSnapshot("org/name", "main");
  EXPECT_THAT(Error("org/name@v2"), AllOf(HasSubstr("no revision v2"), HasSubstr("diptych pull org/name@v2")));
  EXPECT_THAT(Error("org/name@" + std::string(40, 'd')), HasSubstr("no snapshot of commit ddd"));
  EXPECT_THAT(Error("/no/such/folder"), AllOf(HasSubstr("there is no folder /no/such/folder"), HasSubstr("ORG/NAME")));
  EXPECT_THAT(Error(""), AllOf(HasSubstr("no model is named"), HasSubstr("ORG/NAME")));
}

TEST_F(ModelFolderTest, TheCommonNamesAreOffered) {
  for (const char* typed : {"blip2-opt", "blip2-opt-2.7b", "blip2-opt-2.7B", "salesforce/blip2-opt-2.7b"}) {
    EXPECT_THAT(Error(typed), HasSubstr("did you mean Salesforce/blip2-opt-2.7b?")) << typed;
  }
  EXPECT_THAT(Error("blip2-opt-6.7b-coco"), HasSubstr("did you mean Salesforce/blip2-opt-6.7b-coco?"));
  EXPECT_THAT(Error("Salesforce/blip2-opt-2.7b"), Not(HasSubstr("did you mean")));
}

TEST_F(ModelFolderTest, TheNearestNameOfTheCacheIsOffered) {
  AddSnapshot("Salesforce/blip2-opt-2.7b", "main");
  for (const char* typed : {"Salesforce/blip2-opt-2.7", "salesforce/blip2-opt-2.7b", "Salesforce/blip2_opt-2.7b@main",
                            "blip2-opt-2.7b", "blip2-opt"}) {
    EXPECT_THAT(Error(typed), HasSubstr("did you mean Salesforce/blip2-opt-2.7b?")) << typed;
  }
  EXPECT_THAT(Error("other/thing"), ::testing::Not(HasSubstr("did you mean")));
}

TEST_F(ModelFolderTest, AFileIsToldFromItsFolder) {
  Write(root_ / "org" / "model.safetensors");
  const fs::path before = fs::current_path();
  fs::current_path(root_);
  for (const char* file : {"org/model.safetensors", "./org/model.safetensors"}) {
    EXPECT_EQ(Error(file), std::string(file) + " is a file; give the checkpoint's folder: " + (root_ / "org").string());
  }
  fs::current_path(before);
}

TEST_F(ModelFolderTest, TheNameIsOfferedForTheAddressOfItsPage) {
  EXPECT_THAT(Error("https://huggingface.co/org/name"), HasSubstr("did you mean org/name?"));
}

TEST_F(ModelFolderTest, TheNearestFolderIsOffered) {
  for (const char* name : {"blip2-opt-2.7b", "blip2-opt-6.7b"}) Write(root_ / "models" / name / "config.json");
  fs::create_directories(root_ / "models" / "blip2-opt-2.7");
  EXPECT_THAT(Error((root_ / "models" / "blip-opt-2.7b").string()),
              HasSubstr("; did you mean " + (root_ / "models" / "blip2-opt-2.7b").string() + "?"));
  const fs::path before = fs::current_path();
  fs::current_path(root_);
  EXPECT_THAT(Error("models/blip2-opt-67b"), HasSubstr("; did you mean models/blip2-opt-6.7b?"));
  EXPECT_THAT(Error("models/llava"), Not(HasSubstr("did you mean")));
  EXPECT_THAT(Error("model/blip2-opt-6.7b"), HasSubstr("; did you mean models/blip2-opt-6.7b?"));
  EXPECT_THAT(Error("./model/blip2-opt-6.7b/"), HasSubstr("; did you mean ./models/blip2-opt-6.7b?"));
  EXPECT_THAT(Error((root_ / "modles/blip2-opt-6.7b").string()),
              HasSubstr("; did you mean " + (root_ / "models/blip2-opt-6.7b").string() + "?"));
  EXPECT_THAT(Error("blip2-opt-6.7b"), HasSubstr("; did you mean models/blip2-opt-6.7b?"));
  EXPECT_THAT(Error("models"), Not(HasSubstr("did you mean")));
  Write(root_ / "served" / "demo" / "config.json");
  EXPECT_THAT(Error("served"), HasSubstr("holds no config.json"));
  EXPECT_THAT(Error("served"), HasSubstr("; did you mean served/demo?"));
  fs::current_path(root_ / "models");
  EXPECT_THAT(Error("blip2-opt-67b/"), HasSubstr("; did you mean blip2-opt-6.7b?"));
  fs::current_path(before);
}

TEST_F(ModelFolderTest, ASnapshotThatIsNotWholeIsNotServed) {
  const fs::path snapshot = AddSnapshot("org/name", "main");
  fs::remove(HubCache() / "models--org--name/blobs/model.safetensors");
  const std::string remedy = "diptych pull org/name";
  EXPECT_THAT(Error("org/name"), AllOf(HasSubstr("model.safetensors is a link to nothing"), HasSubstr(remedy)));
  EXPECT_THAT(Error(snapshot.string() + "/"),
              AllOf(HasSubstr("model.safetensors is a link to nothing"), HasSubstr(remedy + "@" + kCommit)));
  fs::remove(snapshot / "model.safetensors");
  EXPECT_THAT(Error("org/name"), HasSubstr("model.safetensors is missing"));
  Write(snapshot / "model.safetensors.index.json", R"({"weight_map": {"a": "model-1.safetensors"}})");
  EXPECT_THAT(Error("org/name"), HasSubstr("model-1.safetensors is missing"));
  Write(snapshot / "model-1.safetensors");
  EXPECT_EQ(Error("org/name"), "found " + snapshot.string());
}

TEST_F(ModelFolderTest, WhatMayBeMissingMayBeNoLinkToNothing) {
  const fs::path snapshot = AddSnapshot("org/name", "main");
  for (const char* file : {"generation_config.json", "processor_config.json", "tokenizer_config.json", "merges.txt"}) {
    fs::create_symlink("../../blobs/gone", snapshot / file);
    EXPECT_THAT(Error("org/name"),
                AllOf(HasSubstr(std::string(file) + " is a link to nothing"), HasSubstr("diptych pull org/name")));
    fs::remove(snapshot / file);
    fs::create_symlink(file, snapshot / file);  // to itself
    EXPECT_THAT(Error(snapshot), HasSubstr(std::string(file) + " is a link to nothing"));
    fs::remove(snapshot / file);
  }
  fs::create_symlink("../../blobs/gone", snapshot / "README.md");  // which nobody reads
  EXPECT_EQ(Error("org/name"), "found " + snapshot.string());
}

TEST_F(ModelFolderTest, AFolderWithoutACheckpointSaysWhatBelongsThere) {
  fs::create_directories(root_ / "empty");
  EXPECT_THAT(Error(root_ / "empty"), HasSubstr("holds no config.json"));
  Write(root_ / "folder/config.json");
  fs::create_symlink("/no/such/file", root_ / "folder/model.safetensors");
  Write(root_ / "folder/tokenizer.json");
  Write(root_ / "folder/preprocessor_config.json");
  EXPECT_THAT(Error(root_ / "folder"), HasSubstr("model.safetensors is a link to nothing"));
}

TEST_F(ModelFolderTest, ARefLeadsNowhereElse) {
  AddSnapshot("org/name", "main");
  for (const std::string& ref : {std::string("../../../../etc"), std::string(1000, 'a'), std::string("")}) {
    Write(HubCache() / "models--org--name/refs/main", ref);
    EXPECT_THAT(Error("org/name"), HasSubstr("diptych pull org/name")) << ref;
  }
}

TEST_F(ModelFolderTest, OfflineIsWhatTheVariableSays) {
  EXPECT_FALSE(HubIsOffline());
  for (const char* on : {"1", "true", "YES"}) {
    setenv("HF_HUB_OFFLINE", on, 1);
    EXPECT_TRUE(HubIsOffline()) << on;
  }
  setenv("HF_HUB_OFFLINE", "0", 1);
  EXPECT_FALSE(HubIsOffline());
}

TEST(ModelFamilyTest, NamesWhatIsServed) {
  EXPECT_TRUE(CheckFamily("blip-2", "opt").ok());
  EXPECT_TRUE(CheckFamily("", "").ok());
  for (const auto& [model, text] : {std::pair{"instructblip", "opt"}, {"blip-2", "t5"}, {"\033[2J", "opt"}}) {
    const absl::Status status = CheckFamily(model, text);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("BLIP-2 with an OPT decoder"), HasSubstr("model_type is")));
    EXPECT_THAT(std::string(status.message()), ::testing::Not(HasSubstr("\033")));
  }
}

}  // namespace
}  // namespace diptych
