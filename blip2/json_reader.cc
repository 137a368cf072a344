#include "blip2/json_reader.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "common/status.h"
#include "common/text/strict_json.h"

namespace diptych::blip2 {
namespace {

using nlohmann::json;

absl::string_view ToAbsl(std::string_view s) {
  return absl::string_view(s.data(), s.size());
}

const json& EmptyObject() {
  static const json kEmpty = json::object();
  return kEmpty;
}

std::string Explain(const JsonFault& fault) {
  switch (fault.kind) {
    case JsonFault::Kind::kDepth:
      return absl::StrCat("nested deeper than ", kMaxJsonDepth, " levels");
    case JsonFault::Kind::kRepeatedKey:
      return "an object names one key twice";
    default:
      return "not JSON";
  }
}

}  // namespace

absl::StatusOr<json> ParseJson(std::string_view text, std::string_view what, std::string* repeated_name) {
  if (text.size() > kMaxJsonBytes) {
    return absl::InvalidArgumentError(absl::StrCat(ToAbsl(what), ": longer than ", kMaxJsonBytes, " bytes"));
  }
  json value;
  auto fault = ReadStrictJson(text, {.max_depth = kMaxJsonDepth}, value);
  if (!fault) return value;
  const std::string message = Explain(*fault);
  const bool is_member = fault->kind == JsonFault::Kind::kRepeatedKey && fault->depth == 1;
  if (is_member && repeated_name != nullptr) *repeated_name = std::move(fault->key);
  return absl::InvalidArgumentError(absl::StrCat(ToAbsl(what), ": ", message));
}

absl::StatusOr<json> ReadJsonObject(const std::filesystem::path& file) {
  const std::string name = file.filename().string();
  std::error_code error;
  const std::filesystem::file_status file_status = std::filesystem::status(file, error);
  if (!std::filesystem::exists(file_status)) return absl::NotFoundError(absl::StrCat(name, ": no such file"));
  // A pipe or a device would block or never end.
  if (!std::filesystem::is_regular_file(file_status)) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": not a regular file"));
  }
  const uintmax_t size = std::filesystem::file_size(file, error);
  if (error || size > kMaxJsonBytes) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": longer than ", kMaxJsonBytes, " bytes"));
  }
  std::string text(size, '\0');
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(text.data(), static_cast<std::streamsize>(size))) {
    return absl::InvalidArgumentError(absl::StrCat(name, ": cannot be read"));
  }
  DIPTYCH_ASSIGN_OR_RETURN(json parsed, ParseJson(text, name));
  if (!parsed.is_object()) return absl::InvalidArgumentError(absl::StrCat(name, ": not a JSON object"));
  return parsed;
}

std::string Printable(std::string_view text) {
  constexpr size_t kMaxCharacters = 200;
  std::string escaped = absl::CHexEscape(ToAbsl(text.substr(0, kMaxCharacters)));
  if (escaped.size() > kMaxCharacters || text.size() > kMaxCharacters) {
    escaped.resize(std::min(escaped.size(), kMaxCharacters - 3));
    escaped += "...";
  }
  return escaped;
}

JsonFields::JsonFields(const json& object, std::string where) : object_(object), where_(std::move(where)) {}

const json* JsonFields::Find(std::string_view name) const {
  if (!status_.ok()) return nullptr;
  const auto field = object_.find(name);
  return field == object_.end() || field->is_null() ? nullptr : &*field;
}

void JsonFields::Reject(std::string_view name, std::string_view complaint) {
  if (status_.ok()) status_ = absl::InvalidArgumentError(absl::StrCat(where_, ToAbsl(name), " ", ToAbsl(complaint)));
}

bool JsonFields::ToInteger(const json& field, std::string_view name, int64_t min, int64_t max, int64_t& value) {
  int64_t number = 0;
  if (const auto* natural = field.get_ptr<const json::number_unsigned_t*>()) {
    constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
    number = static_cast<int64_t>(std::min<uint64_t>(*natural, kMax));
  } else if (const auto* negative = field.get_ptr<const json::number_integer_t*>()) {
    number = *negative;
  } else {
    Reject(name, "is not an integer");
    return false;
  }
  if (number < min || number > max) {
    Reject(name, absl::StrCat("is ", number, ", outside [", min, ", ", max, "]"));
    return false;
  }
  value = number;
  return true;
}

bool JsonFields::ToReal(const json& field, std::string_view name, double min, double max, double& value) {
  if (!field.is_number()) {
    Reject(name, "is not a number");
    return false;
  }
  const double number = field.get<double>();
  if (!(number >= min && number <= max)) {  // so that NaN fails
    Reject(name, absl::StrCat("is ", number, ", outside [", min, ", ", max, "]"));
    return false;
  }
  value = number;
  return true;
}

void JsonFields::Integer(std::string_view name, int64_t min, int64_t max, int64_t& value) {
  if (const json* field = Find(name)) ToInteger(*field, name, min, max, value);
}

void JsonFields::IntegerOrList(std::string_view name, int64_t min, int64_t max, size_t max_count,
                               std::vector<int64_t>& values) {
  const json* field = Find(name);
  if (field == nullptr) return;
  if (!field->is_array()) {
    int64_t value = 0;
    if (ToInteger(*field, name, min, max, value)) values = {value};
    return;
  }
  if (field->size() > max_count) return Reject(name, absl::StrCat("has more than ", max_count, " entries"));
  values.assign(field->size(), 0);
  for (size_t i = 0; i < values.size(); ++i) {
    if (!ToInteger((*field)[i], name, min, max, values[i])) return;
  }
}

void JsonFields::Real(std::string_view name, double min, double max, double& value) {
  if (const json* field = Find(name)) ToReal(*field, name, min, max, value);
}

void JsonFields::Reals(std::string_view name, double min, double max, std::array<double, 3>& values) {
  const json* field = Find(name);
  if (field == nullptr) return;
  if (!field->is_array() || field->size() != values.size()) return Reject(name, "is not a list of three numbers");
  for (size_t i = 0; i < values.size(); ++i) {
    if (!ToReal((*field)[i], name, min, max, values[i])) return;
  }
}

void JsonFields::Boolean(std::string_view name, bool& value) {
  const json* field = Find(name);
  if (field == nullptr) return;
  if (!field->is_boolean()) return Reject(name, "is not true or false");
  value = field->get<bool>();
}

void JsonFields::OnlyWord(std::string_view name, std::string_view served) {
  const json* field = Find(name);
  if (field == nullptr) return;
  const std::string* word = field->get_ptr<const std::string*>();
  if (word == nullptr) return Reject(name, "is not a string");
  if (*word != served) {
    Reject(name, absl::StrCat("is \"", Printable(*word), "\"; only \"", ToAbsl(served), "\" is served"));
  }
}

void JsonFields::OnlyBoolean(std::string_view name, bool served) {
  bool value = served;
  Boolean(name, value);
  if (value != served) {
    Reject(name, absl::StrCat("is ", value ? "true" : "false", "; only ", served ? "true" : "false", " is served"));
  }
}

void JsonFields::Square(std::string_view name, int64_t min, int64_t max, int64_t& side) {
  const json* field = Find(name);
  if (field == nullptr) return;
  const json* height = field;
  const json* width = field;
  if (field->is_array() && field->size() == 2) {
    height = &(*field)[0];
    width = &(*field)[1];
  } else if (field->is_object() && field->contains("height") && field->contains("width")) {
    height = &(*field)["height"];
    width = &(*field)["width"];
  } else if (field->is_array() || field->is_object()) {
    return Reject(name, "is not one number, nor a height and a width");
  }
  int64_t other_side = 0;
  if (!ToInteger(*height, name, min, max, side) || !ToInteger(*width, name, min, max, other_side)) return;
  if (side != other_side) Reject(name, "is not square; only square images are served");
}

const json& JsonFields::Object(std::string_view name) {
  const json* field = Find(name);
  if (field == nullptr) return EmptyObject();
  if (field->is_object()) return *field;
  Reject(name, "is not an object");
  return EmptyObject();
}

}  // namespace diptych::blip2
