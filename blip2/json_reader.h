// Reads JSON files that are hostile until checked: bounded, without exceptions.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace diptych::blip2 {

inline constexpr size_t kMaxJsonBytes = size_t{16} << 20;
inline constexpr size_t kMaxJsonDepth = 64;

// `text` as JSON. INVALID_ARGUMENT, its message opening with `what`, if it is longer than kMaxJsonBytes, nested deeper
// than kMaxJsonDepth, names a key twice in one object, or is not JSON in UTF-8. `repeated_name` is set to a key that
// the outermost object names twice.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, std::string_view what,
                                         std::string* repeated_name = nullptr);

// The JSON object in `file`. NOT_FOUND if there is no such file; INVALID_ARGUMENT as ParseJson, and if it is
// not a regular file or holds something else than an object. Messages name the file by its base name.
absl::StatusOr<nlohmann::json> ReadJsonObject(const std::filesystem::path& file);

// Text from a hostile file as it may stand in a message: one line, printable, at most 200 characters.
std::string Printable(std::string_view text);

// Fields of one JSON object. A field that is absent or null leaves its output as it is. The first field
// that is wrong is kept as the status, and names file and field; later calls then do nothing.
class JsonFields {
 public:
  // `object` must outlive this. `where` opens every message: "config.json: vision_config.".
  JsonFields(const nlohmann::json& object, std::string where);

  bool Has(std::string_view name) const { return Find(name) != nullptr; }

  // Integers inside [min, max]; 8.0 is not an integer.
  void Integer(std::string_view name, int64_t min, int64_t max, int64_t& value);
  // One integer or a list of at most `max_count`, each inside [min, max].
  void IntegerOrList(std::string_view name, int64_t min, int64_t max, size_t max_count, std::vector<int64_t>& values);
  // A number inside [min, max]; integers are numbers.
  void Real(std::string_view name, double min, double max, double& value);
  void Reals(std::string_view name, double min, double max, std::array<double, 3>& values);
  void Boolean(std::string_view name, bool& value);
  // If the field is there, it must be this word, or this truth value.
  void OnlyWord(std::string_view name, std::string_view served);
  void OnlyBoolean(std::string_view name, bool served);
  // Both sides of a square: 224, [224, 224] or {"height": 224, "width": 224}.
  void Square(std::string_view name, int64_t min, int64_t max, int64_t& side);
  // The object in the field; an empty one if it is absent.
  const nlohmann::json& Object(std::string_view name);

  // Records that `name` is wrong: "<where><name> <complaint>".
  void Reject(std::string_view name, std::string_view complaint);
  const absl::Status& status() const { return status_; }

 private:
  // Null if the field is absent or null, or if an earlier field was wrong.
  const nlohmann::json* Find(std::string_view name) const;
  // False, after Reject and with `value` as it was, if `field` is not such a number.
  bool ToInteger(const nlohmann::json& field, std::string_view name, int64_t min, int64_t max, int64_t& value);
  bool ToReal(const nlohmann::json& field, std::string_view name, double min, double max, double& value);

  const nlohmann::json& object_;
  const std::string where_;
  absl::Status status_;
};

}  // namespace diptych::blip2
