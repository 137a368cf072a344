#include "common/models/hub_name.h"

#include <gtest/gtest.h>

namespace diptych {
namespace {

TEST(HubNameTest, HasARepositoryAndARevision) {
  const auto name = ParseHubName("Salesforce/blip2-opt-2.7b");
  ASSERT_TRUE(name);
  EXPECT_EQ(name->repository, "Salesforce/blip2-opt-2.7b");
  EXPECT_EQ(name->revision, "main");
  EXPECT_EQ(name->Text(), "Salesforce/blip2-opt-2.7b");
  const auto pull_request = ParseHubName("org/name@refs/pr/4");
  ASSERT_TRUE(pull_request);
  EXPECT_EQ(pull_request->revision, "refs/pr/4");
  EXPECT_EQ(pull_request->Text(), "org/name@refs/pr/4");
}

TEST(HubNameTest, RefusesWhatTheHubRefuses) {
  for (const char* text : {"",
                           "/",
                           "name",
                           "/name",
                           "org/",
                           "a/b/c",
                           "./name",
                           "../name",
                           "org/..",
                           "org/.name",
                           "-o/n",
                           "org/name-",
                           "or--g/name",
                           "org/na..me",
                           "org/name.git",
                           "org/na me",
                           "org/näme",
                           "org\\name",
                           "org/name@",
                           "org/name@..",
                           "org/name@a/../b",
                           "org/name@/etc",
                           "org/name@a//b",
                           "org/name@a/",
                           "org/name@-x",
                           "org/name@a b",
                           "org/name@a@b",
                           "org/name\n"}) {
    EXPECT_FALSE(ParseHubName(text)) << text;
  }
  EXPECT_FALSE(ParseHubName("org/" + std::string(100, 'a')));
  EXPECT_FALSE(ParseHubName("org/name@" + std::string(300, 'a')));
}

TEST(HubNameTest, IsFoundInTheAddressOfItsPage) {
  for (const char* address : {"https://huggingface.co/org/name", "http://huggingface.co/org/name/",
                              "huggingface.co/org/name", "hf.co/org/name", "https://huggingface.co/org/name/tree/main",
                              "https://huggingface.co/org/name?library=transformers"}) {
    EXPECT_EQ(NameInAddress(address), "org/name") << address;
  }
  EXPECT_EQ(NameInAddress("https://huggingface.co/org/name/tree/v2"), "org/name@v2");
  EXPECT_EQ(NameInAddress("https://huggingface.co/org/name/resolve/v2/config.json"), "org/name@v2");
  for (const char* other :
       {"", "org/name", "https://", "https://huggingface.co", "https://huggingface.co/org",
        "https://other.host/org/name", "https://huggingface.co/org/..", "https://huggingface.co/datasets/org/name"}) {
    EXPECT_EQ(NameInAddress(other), "") << other;
  }
}

TEST(HubNameTest, IsReadBackFromASnapshot) {
  const std::string commit(40, 'a');
  EXPECT_EQ(RepositoryOfSnapshot("/c/models--org--my-name/snapshots/" + commit), "org/my-name");
  EXPECT_EQ(RepositoryOfSnapshot("/c/datasets--org--name/snapshots/" + commit), "");
  EXPECT_EQ(RepositoryOfSnapshot("/c/models--org--name/blobs/" + commit), "");
  EXPECT_EQ(RepositoryOfSnapshot("/c/models--org--name/snapshots/main"), "");
  EXPECT_EQ(RepositoryOfSnapshot("/models/demo"), "");
}

}  // namespace
}  // namespace diptych
