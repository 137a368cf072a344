// What --model means.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "common/models/hub_name.h"

namespace diptych {

// The folder of the checkpoint `model`: a folder, or "ORG/NAME[@REVISION]" of a model in Hugging Face's cache. Never
// asks the hub. NOT_FOUND, in one line, with what was looked for and what to do: the command that downloads it, or the
// name that was probably meant.
absl::StatusOr<std::string> FindModelFolder(const std::string& model);

// That `model`, which is `name`, is neither a folder nor in the cache; then `advice`, and the name that was probably
// meant.
std::string WhyMissing(const std::string& model, const HubName& name, const std::string& advice);

// "; did you mean ORG/OTHER?" with the nearest name that the cache holds; empty if none is near.
std::string NearestCachedModel(const std::string& model);

// "there is no folder /WHOLE/MODEL", and "; did you mean FOLDER?" with the nearest checkpoint beside it, or of its name
// in another folder.
std::string MissingFolder(const std::string& model);

}  // namespace diptych
