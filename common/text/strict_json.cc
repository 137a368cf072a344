#include "common/text/strict_json.h"

#include <nlohmann/json.hpp>
#include <set>
#include <utility>
#include <vector>

namespace diptych {
namespace {

using nlohmann::json;

// The parser calls a function for each element; returning false ends the parse.
class StrictReader final : public nlohmann::json_sax<json> {
 public:
  StrictReader(const JsonBounds& bounds, json& root) : bounds_(bounds), root_(root) {}

  std::optional<JsonFault> TakeFault() { return std::move(fault_); }

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return AddNumber(value); }
  bool number_unsigned(number_unsigned_t value) override { return AddNumber(value); }
  bool number_float(number_float_t value, const string_t& /*text*/) override { return AddNumber(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t& /*value*/) override { return Refuse({.kind = JsonFault::Kind::kSyntax}); }

  bool start_object(size_t /*size*/) override { return Open(json::object()); }
  bool end_object() override { return Close(); }
  bool start_array(size_t /*size*/) override { return Open(json::array()); }
  bool end_array() override { return Close(); }

  bool key(string_t& name) override {
    if (!Count()) return false;
    if (!open_.back().keys.insert(name).second) {
      return Refuse({.kind = JsonFault::Kind::kRepeatedKey, .key = std::move(name), .depth = open_.size()});
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t /*position*/, const std::string& /*token*/, const json::exception& error) override {
    const auto* syntax = dynamic_cast<const json::parse_error*>(&error);  // else a number that is too large
    return Refuse({.kind = JsonFault::Kind::kSyntax,
                   .byte = syntax == nullptr ? std::nullopt : std::optional<size_t>(syntax->byte)});
  }

 private:
  struct Container {
    json* value;
    std::set<std::string> keys = {};
  };

  bool Refuse(JsonFault fault) {
    fault_ = std::move(fault);
    return false;
  }
  bool Count() { return ++values_ <= bounds_.max_values || Refuse({.kind = JsonFault::Kind::kValues}); }
  bool CountNumber() { return ++numbers_ <= bounds_.max_numbers || Refuse({.kind = JsonFault::Kind::kNumbers}); }
  bool IsInList() const { return !open_.empty() && open_.back().value->is_array(); }

  json& Place(json value) {
    if (open_.empty()) return root_ = std::move(value);
    json& parent = *open_.back().value;
    if (parent.is_array()) return parent.emplace_back(std::move(value));
    return parent[key_] = std::move(value);
  }

  template <typename Value>
  bool Add(Value&& value) {
    if (!Count()) return false;
    Place(std::forward<Value>(value));
    return true;
  }
  bool AddNumber(json number) {
    if (!(IsInList() ? CountNumber() : Count())) return false;
    Place(std::move(number));
    return true;
  }
  bool Open(json container) {
    if (!Count()) return false;
    if (open_.size() >= bounds_.max_depth) return Refuse({.kind = JsonFault::Kind::kDepth});
    open_.push_back({.value = &Place(std::move(container))});
    return true;
  }
  bool Close() {
    open_.pop_back();
    return true;
  }

  const JsonBounds bounds_;
  json& root_;
  std::vector<Container> open_;
  std::string key_;  // of the member that comes
  size_t values_ = 0;
  size_t numbers_ = 0;  // in lists
  std::optional<JsonFault> fault_;
};

}  // namespace

std::optional<JsonFault> ReadStrictJson(std::string_view text, const JsonBounds& bounds, json& value) {
  StrictReader reader(bounds, value);
  json::sax_parse(text, &reader);
  return reader.TakeFault();
}

}  // namespace diptych
