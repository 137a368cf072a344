// Answers as POST /v1/responses gives them.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "gateway/http/answer_form.h"

namespace diptych::gateway {

// Of one choice. A stream is response.created, response.in_progress, the output message with its one part and their
// deltas, and response.completed or response.incomplete; after a failure the last event is response.failed.
class ResponsesForm final : public AnswerForm {
 public:
  // `echo`: members of the reply that repeat what was asked for. `created`: seconds since 1970.
  ResponsesForm(nlohmann::ordered_json echo, int64_t created) : echo_(std::move(echo)), created_(created) {}

  void Start(const std::string& request_id, const std::string& model) override;
  nlohmann::ordered_json Whole(const std::vector<v1::Answer>& answers) override;
  Events Begin(int choice, const v1::Delta& first) override;
  Events Delta(int choice, const v1::Delta& delta) override;
  Events Last(int choice, const v1::Answer& answer) override;
  Events End(const std::vector<v1::Answer>& answers) override;
  Events Failed(const absl::Status& status) override;

 private:
  // The reply's object, its output being empty.
  nlohmann::ordered_json Response(const char* status) const;
  nlohmann::ordered_json Item(const char* status) const;
  // Event `type` with its number, and `members` added.
  HttpEvent Event(const char* type, nlohmann::ordered_json members);
  // The same, of the output's one part.
  HttpEvent PartEvent(const char* type, nlohmann::ordered_json members);

  const nlohmann::ordered_json echo_;
  const int64_t created_;
  std::string request_id_;
  std::string model_;
  int next_event_ = 0;
};

}  // namespace diptych::gateway
