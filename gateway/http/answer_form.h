// The form in which an HTTP caller gets answers.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "diptych/v1/inference.pb.h"
#include "gateway/http/http_server.h"

namespace diptych::gateway {

// One for each call, whose answer is sent whole or as events. Thread-compatible.
class AnswerForm {
 public:
  using Events = std::vector<HttpEvent>;

  virtual ~AnswerForm() = default;

  // Called first, with what the server chose.
  virtual void Start(const std::string& request_id, const std::string& model) = 0;

  // One answer for each choice.
  virtual nlohmann::ordered_json Whole(const std::vector<v1::Answer>& answers) = 0;

  // The events of a choice, in this order: one Begin, any number of Delta, one Last. Begin has the delta that comes
  // first, which Delta then tells, too; an empty one where none comes. Of a delta that shows nothing there is no event.
  virtual Events Begin(int choice, const v1::Delta& first) = 0;
  virtual Events Delta(int choice, const v1::Delta& delta) = 0;
  virtual Events Last(int choice, const v1::Answer& answer) = 0;
  // The end of the stream: after the last choice, or after a failure.
  virtual Events End(const std::vector<v1::Answer>& answers) = 0;
  virtual Events Failed(const absl::Status& status) = 0;
};

}  // namespace diptych::gateway
