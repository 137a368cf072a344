// Answers as chat and text completions.
#pragma once

#include <map>
#include <utility>

#include "gateway/http/answer_form.h"
#include "gateway/http/openai_reply.h"

namespace diptych::gateway {

class OpenAiForm final : public AnswerForm {
 public:
  // `head` without what the server chooses.
  explicit OpenAiForm(ReplyHead head) : head_(std::move(head)) {}

  void Start(const std::string& request_id, const std::string& model) override;
  nlohmann::ordered_json Whole(const std::vector<v1::Answer>& answers) override;
  Events Begin(int choice, const v1::Delta& first) override;
  Events Delta(int choice, const v1::Delta& delta) override;
  Events Last(int choice, const v1::Answer& answer) override;
  Events End(const std::vector<v1::Answer>& answers) override;
  Events Failed(const absl::Status& status) override;

 private:
  ShownText& ShownOf(int choice);

  ReplyHead head_;
  std::map<int, ShownText> shown_;  // of each choice
};

}  // namespace diptych::gateway
