#include "gateway/http/json_members.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/status.h"

namespace diptych::gateway {

using nlohmann::json;

absl::Status Invalid(std::string_view field, std::string_view message) {
  return InvalidField(kInvalidValue, field, message);
}

absl::Status Unsupported(std::string_view field) {
  const absl::string_view name(field.data(), field.size());
  return InvalidField(kUnsupportedParameter, field, absl::StrCat("\"", name, "\" is not supported here: leave it out"));
}

std::string Excerpt(const json& value) {
  constexpr size_t kMost = 32;
  if (value.is_structured()) return value.is_array() ? "a list" : "an object";
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace);
  return text.size() <= kMost ? text : absl::StrCat(text.substr(0, kMost), "...");
}

bool IsEmptyValue(const json& value) {
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return value.is_structured() ? value.empty() : value.is_null() || value == false || value == 0;
}

bool AsksForNothing(const json& value) {
  if (!value.is_structured()) return IsEmptyValue(value);
  return std::all_of(value.begin(), value.end(), [&](const json& inner) {
    const bool says_something = value.is_array() && (inner.is_number() || inner.is_boolean());
    return !says_something && AsksForNothing(inner);
  });
}

Members::Members(const json& object, std::string path) : object_(object), path_(std::move(path)) {
  if (!object.is_object()) Fail(Invalid(path_, absl::StrCat("takes an object, not ", Excerpt(object))));
}

bool Members::Is(const char* name, const json& value) const {
  const auto found = object_.find(name);  // its end, where that is no object
  return found != object_.end() && *found == value;
}

const json* Members::Take(const char* name) {
  taken_.insert(name);
  if (!object_.is_object()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<int32_t> WholeNumber(const json& value) {
  if (!value.is_number()) return std::nullopt;
  const auto number = value.get<double>();  // exact for all of int32_t
  if (!(number >= INT32_MIN && number <= INT32_MAX) || number != std::trunc(number)) return std::nullopt;
  return static_cast<int32_t>(number);
}

std::optional<std::vector<int32_t>> WholeNumbers(const json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<int32_t> numbers;
  for (const json& one : value) {
    const std::optional<int32_t> number = WholeNumber(one);
    if (!number) return std::nullopt;
    numbers.push_back(*number);
  }
  return numbers;
}

std::optional<int32_t> Members::TakeInteger(const char* name) {
  const json* value = Take(name);
  if (value == nullptr) return std::nullopt;
  const std::optional<int32_t> whole = WholeNumber(*value);
  if (!whole) {
    const bool is_large = value->is_number() && std::abs(value->get<double>()) > INT32_MAX;
    Fail(Invalid(Path(name), absl::StrCat("takes a whole number", is_large ? " of at most 2147483647" : "", ", not ",
                                          Excerpt(*value))));
  }
  return whole;
}

std::optional<double> Members::TakeNumber(const char* name) {
  const json* value = Take(name);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->get<double>();
  Fail(Invalid(Path(name), absl::StrCat("takes a number, not ", Excerpt(*value))));
  return std::nullopt;
}

bool Members::Flag(const char* name) {
  const json* value = Take(name);
  if (value == nullptr) return false;
  if (!value->is_boolean()) Fail(Invalid(Path(name), absl::StrCat("takes true or false, not ", Excerpt(*value))));
  return value->is_boolean() && value->get<bool>();
}

std::string Members::Text(const char* name) {
  const json* value = Take(name);
  if (value == nullptr) return "";
  if (!value->is_string()) Fail(Invalid(Path(name), absl::StrCat("takes a string, not ", Excerpt(*value))));
  return value->is_string() ? value->get<std::string>() : "";
}

void Members::Ignore(std::span<const char* const> names) {
  for (const char* name : names) {
    if (object_.contains(name)) taken_.insert(name);
  }
}

void Members::Neutral(const char* name, const json& neutral) {
  const json* value = Take(name);
  if (value == nullptr || *value == neutral || IsEmptyValue(*value)) return;
  Fail(Unsupported(Path(name)));
}

void Members::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

std::string Members::Path(std::string_view name) const {
  const absl::string_view member(name.data(), name.size());
  return path_.empty() ? std::string(member) : absl::StrCat(path_, ".", member);
}

absl::Status Members::Finish() {
  if (!status_.ok() || !object_.is_object()) return status_;
  for (const auto& [name, value] : object_.items()) {
    if (!taken_.contains(name) && !AsksForNothing(value)) return Unsupported(Path(name.substr(0, 64)));
  }
  return status_;
}

}  // namespace diptych::gateway
