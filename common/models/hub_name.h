// Names of models as Hugging Face's hub has them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace diptych {

struct HubName {
  std::string repository;         // "Salesforce/blip2-opt-2.7b"
  std::string revision = "main";  // a branch, a tag or a commit; may have slashes

  // "Salesforce/blip2-opt-2.7b", with "@REVISION" if that is not main.
  std::string Text() const;
};

// "ORG/NAME" or "ORG/NAME@REVISION" with the characters and lengths that the hub allows; nullopt for anything else. No
// part of the result leaves a folder when it is used as a path.
std::optional<HubName> ParseHubName(std::string_view text);

// "ORG/NAME" or "ORG/NAME@REVISION" of the address of a model's page on the hub, with or without https:// before and
// /tree/REVISION or the like behind it; empty for anything else.
std::string NameInAddress(std::string_view address);

// True for 40 lower-case hexadecimal digits.
bool IsCommit(std::string_view text);

// "ORG/NAME" of a folder …/models--ORG--NAME/snapshots/COMMIT, which is how Hugging Face's cache lays models out; empty
// for any other.
std::string RepositoryOfSnapshot(const std::filesystem::path& folder);

}  // namespace diptych
