#include "cli/command_line/plain_values.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "cli/command_line/option_table.h"

namespace diptych::cli {
namespace {

// Texts, not names.
constexpr const char* kMayBeEmpty[] = {"--question", "--prompt", "--description"};

// Of any size.
bool IsWhole(const std::string& text) {
  const size_t sign = text.starts_with('-') ? 1 : 0;
  return text.size() > sign && text.find_first_not_of("0123456789", sign) == std::string::npos;
}

// Leaves what the next check reads: CLI11 reads "010" as 8.
template <typename Integer>
std::string CheckWhole(std::string& text) {
  Integer number = 0;
  if (!absl::SimpleAtoi(text, &number)) {
    const std::string range =
        absl::StrCat(" from ", std::numeric_limits<Integer>::min(), " to ", std::numeric_limits<Integer>::max());
    return absl::StrCat("takes a whole number", IsWhole(text) ? range : "", ", not \"", text, "\"");
  }
  text = absl::StrCat(number);
  return "";
}

std::string CheckNumber(std::string& text) {
  double number = 0;
  const bool decimal = text.find_first_of("xX") == std::string::npos;
  if (decimal && absl::SimpleAtod(text, &number) && std::isfinite(number)) return "";
  return absl::StrCat("takes a number such as 0.5, not \"", text, "\"");
}

std::string CheckNotEmpty(std::string& text) {
  return text.empty() ? "takes a value that is not empty" : "";
}

bool MayBeEmpty(const CLI::Option& option) {
  return IsList(option) || !option.get_envname().empty() ||
         std::find(std::begin(kMayBeEmpty), std::end(kMayBeEmpty), LongNameOf(option)) != std::end(kMayBeEmpty);
}

void RequirePlainValue(CLI::Option& option) {
  const std::string type = TypeOf(option);
  if (type == "INT") option.transform(CLI::Validator(&CheckWhole<int32_t>, ""));
  if (type == "UINT") option.transform(CLI::Validator(&CheckWhole<uint64_t>, ""));
  if (type == "FLOAT") option.transform(CLI::Validator(&CheckNumber, ""));
  if ((type == "TEXT" || type == kFolderType) && !MayBeEmpty(option))
    option.transform(CLI::Validator(&CheckNotEmpty, ""));
}

}  // namespace

void RequirePlainValues(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) RequirePlainValue(*option);
  for (CLI::App* command : app.get_subcommands([](CLI::App*) { return true; })) RequirePlainValues(*command);
}

}  // namespace diptych::cli
