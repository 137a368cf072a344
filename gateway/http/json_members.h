// The members of a JSON object, taken one by one.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"

namespace diptych::gateway {

// The reason (ErrorInfo) of parameters that exist at OpenAI and not here.
inline constexpr std::string_view kUnsupportedParameter = "UNSUPPORTED_PARAMETER";
// The reason of values of a wrong type or form.
inline constexpr std::string_view kInvalidValue = "INVALID_VALUE";

// INVALID_ARGUMENT for `field`, with the reasons above.
absl::Status Invalid(std::string_view field, std::string_view message);
absl::Status Unsupported(std::string_view field);

// An int32_t, also where it is written as 16.0; nullopt for anything else.
std::optional<int32_t> WholeNumber(const nlohmann::json& value);

// A list of nothing but such numbers; nullopt for anything else.
std::optional<std::vector<int32_t>> WholeNumbers(const nlohmann::json& value);

// A value as a fault shows it: short, and nothing of what lists and objects hold.
std::string Excerpt(const nlohmann::json& value);

// Whether a member asks for nothing, whatever its name is: null, false, 0, "", [] or {}.
bool IsEmptyValue(const nlohmann::json& value);

// The same of what is nested: also an object whose members ask for nothing, and a list of nothing but null, "" and such
// lists and objects. A list of numbers or flags says something, whatever they are.
bool AsksForNothing(const nlohmann::json& value);

// Takes an object's members one by one; members not taken are unsupported, unless they ask for nothing. The first fault
// is kept. null counts as absent. Outlived by the object.
class Members {
 public:
  // `path` names the object in faults; empty for the whole body.
  Members(const nlohmann::json& object, std::string path);

  // Whether a member of this name was asked for, there or not, or was there to be ignored.
  bool Took(std::string_view name) const { return taken_.contains(name); }

  // Whether the member is there and has this value. It is not taken.
  bool Is(const char* name, const nlohmann::json& value) const;

  // nullptr if the member is absent.
  const nlohmann::json* Take(const char* name);

  // Calls `set` with an int32_t if the member is there.
  template <typename Set>
  void Integer(const char* name, Set&& set) {
    if (const std::optional<int32_t> value = TakeInteger(name)) set(*value);
  }

  // The same for a bound: what is more than an int32_t holds, up to 2^53, counts as the most that it does.
  template <typename Set>
  void Bound(const char* name, Set&& set) {
    const nlohmann::json* value = Take(name);
    const bool is_most = value != nullptr && value->is_number() && *value > INT32_MAX && *value <= (int64_t{1} << 53);
    is_most ? set(INT32_MAX) : Integer(name, set);
  }

  // Calls `set` with a double if the member is there.
  template <typename Set>
  void Number(const char* name, Set&& set) {
    if (const std::optional<double> value = TakeNumber(name)) set(*value);
  }

  // false if the member is absent.
  bool Flag(const char* name);
  // Empty if the member is absent.
  std::string Text(const char* name);

  // Takes what has no meaning here and changes no answer, whatever it says. Costs little where none of it is there.
  void Ignore(std::span<const char* const> names);
  void Ignore(std::initializer_list<const char*> names) { Ignore(std::span(names.begin(), names.size())); }

  // Takes what may be there as long as it is an empty value or `neutral`.
  void Neutral(const char* name, const nlohmann::json& neutral = nullptr);

  void Fail(absl::Status status);
  // The first fault until now; OK if there is none.
  const absl::Status& fault() const { return status_; }

  std::string Path(std::string_view name) const;

  // The first fault; UNSUPPORTED_PARAMETER if a member was not taken and its value is not empty.
  absl::Status Finish();

 private:
  std::optional<int32_t> TakeInteger(const char* name);
  std::optional<double> TakeNumber(const char* name);

  const nlohmann::json& object_;
  const std::string path_;
  std::set<std::string, std::less<>> taken_;
  absl::Status status_;
};

}  // namespace diptych::gateway
