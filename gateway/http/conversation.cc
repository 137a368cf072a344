#include "gateway/http/conversation.h"

#include <utility>

#include "common/status.h"
#include "common/text/white_space.h"
#include "gateway/http/json_members.h"

namespace diptych::gateway {
namespace {

using Speaker = Message::Speaker;

// Appends a line; a blank one adds nothing.
void AddLine(std::string_view line, std::string& text) {
  if (IsBlank(line)) return;
  if (!text.empty()) text += '\n';
  text += line;
}

void AddImages(Message& message, v1::Question& question, FieldNames& names) {
  for (size_t i = 0; i < message.images.size(); ++i) {
    *question.add_images() = std::move(message.images[i]);
    names.images.push_back(std::move(message.image_fields[i]));
  }
}

void AddTurn(Message& message, v1::Question& question, FieldNames& names) {
  const v1::Role role = message.speaker == Speaker::kUser ? v1::ROLE_USER : v1::ROLE_ASSISTANT;
  if (question.turns().empty() || question.turns().rbegin()->role() != role) {
    question.add_turns()->set_role(role);
    names.turns.push_back(message.field);
  }
  v1::Turn& turn = *question.mutable_turns()->rbegin();
  AddLine(message.text, *turn.mutable_text());
  turn.set_images(turn.images() + static_cast<int32_t>(message.images.size()));
  AddImages(message, question, names);
}

// The place of the answer that some clients put at the end, with nothing in it yet.
void DropEmptyEnd(v1::Question& question, FieldNames& names) {
  if (question.turns().empty() || question.turns_size() % 2 != 0 || !question.turns().rbegin()->text().empty()) return;
  question.mutable_turns()->RemoveLast();
  names.turns.pop_back();
}

// Puts `text` before the first question that has words; before the first one if none has.
void Prepend(std::string text, v1::Question& question) {
  v1::Turn* first = question.mutable_turns(0);
  for (int i = 0; i < question.turns_size(); i += 2) {
    if (question.turns(i).text().empty()) continue;
    first = question.mutable_turns(i);
    break;
  }
  AddLine(first->text(), text);
  first->set_text(std::move(text));
}

}  // namespace

absl::Status SetConversation(std::vector<Message> messages, SystemPrompt system_prompt, v1::Question& question,
                             FieldNames& names) {
  std::string before;
  for (Message& message : messages) {
    const bool system = message.speaker == Speaker::kSystem;
    if (system && system_prompt == SystemPrompt::kRefuse && !IsBlank(message.text)) {
      return InvalidField(kUnsupportedParameter, message.field, "this server takes no system message");
    }
    if (system || (message.speaker == Speaker::kAssistant && question.turns().empty())) {
      AddLine(message.text, before);
    } else {
      AddTurn(message, question, names);
    }
  }
  DropEmptyEnd(question, names);
  if (question.turns().empty()) return Invalid(names.content, "takes at least one message of the user");
  if (question.turns_size() % 2 == 0) return Invalid(names.turns.back(), "the last message must be the user's");
  if (!before.empty()) Prepend(std::move(before), question);
  if (question.turns_size() == 1 && question.turns(0).text().empty() && question.images_size() > 0) {
    question.clear_turns();
  }
  return absl::OkStatus();
}

}  // namespace diptych::gateway
