#include "common/models/hub_name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace diptych {
namespace {

constexpr size_t kLongestName = 96, kLongestRevision = 200;

bool HasOnly(std::string_view text, std::string_view punctuation) {
  return std::all_of(text.begin(), text.end(), [punctuation](unsigned char c) {
    return absl::ascii_isalnum(c) || punctuation.find(static_cast<char>(c)) != punctuation.npos;
  });
}

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != text.npos;
}

// An organization or a model's own name.
bool IsNamePart(std::string_view text) {
  constexpr std::string_view kNotAtTheEnds = "-.";
  return !text.empty() && HasOnly(text, "-_.") && !Contains(text, "--") && !Contains(text, "..") &&
         !Contains(kNotAtTheEnds, text.substr(0, 1)) && !Contains(kNotAtTheEnds, text.substr(text.size() - 1));
}

bool IsRepository(std::string_view text) {
  const size_t slash = text.find('/');
  return text.size() <= kLongestName && slash != text.npos && IsNamePart(text.substr(0, slash)) &&
         IsNamePart(text.substr(slash + 1)) && !text.ends_with(".git");
}

bool IsRevision(std::string_view text) {
  return !text.empty() && text.size() <= kLongestRevision && HasOnly(text, "-_./+") && !Contains(text, "..") &&
         !Contains(text, "//") && !Contains(text, "/.") && !Contains("/.-", text.substr(0, 1)) && !text.ends_with("/");
}

}  // namespace

std::string HubName::Text() const {
  return revision == HubName().revision ? repository : absl::StrCat(repository, "@", revision);
}

std::optional<HubName> ParseHubName(std::string_view text) {
  HubName name;
  const size_t at = text.find('@');
  if (at != text.npos) name.revision = text.substr(at + 1);
  name.repository = text.substr(0, at);
  if (!IsRepository(name.repository) || !IsRevision(name.revision)) return std::nullopt;
  return name;
}

std::string NameInAddress(std::string_view address) {
  const std::string path(address.substr(0, address.find_first_of("?#")));
  std::vector<std::string> parts = absl::StrSplit(path, absl::ByAnyChar("/:"), absl::SkipEmpty());
  if (!parts.empty() && absl::StartsWith(parts.front(), "http")) parts.erase(parts.begin());
  parts.resize(5);  // host, organization, name, "tree" or the like, revision
  if (parts[0] != "huggingface.co" && parts[0] != "hf.co") return "";
  if (parts[1] == "datasets" || parts[1] == "spaces") return "";
  const HubName name{.repository = absl::StrCat(parts[1], "/", parts[2]),
                     .revision = parts[4].empty() ? HubName().revision : parts[4]};
  return ParseHubName(name.Text()) ? name.Text() : "";
}

bool IsCommit(std::string_view text) {
  constexpr size_t kDigits = 40;
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

std::string RepositoryOfSnapshot(const std::filesystem::path& folder) {
  const std::filesystem::path snapshots = folder.parent_path();
  const std::string stored = snapshots.parent_path().filename().string();
  constexpr std::string_view kPrefix = "models--";
  if (snapshots.filename() != "snapshots" || !IsCommit(folder.filename().string()) || !stored.starts_with(kPrefix)) {
    return "";
  }
  const size_t separator = stored.find("--", kPrefix.size());
  if (separator == std::string::npos) return "";
  const std::string repository =
      absl::StrCat(stored.substr(kPrefix.size(), separator - kPrefix.size()), "/", stored.substr(separator + 2));
  return IsRepository(repository) ? repository : "";
}

}  // namespace diptych
