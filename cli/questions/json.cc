#include "cli/questions/json.h"

#include <cstdio>
#include <nlohmann/json.hpp>

namespace diptych::cli {

using nlohmann::ordered_json;

ordered_json AnswerJson(const std::string& image, const std::string& question, const v1::Answer& answer) {
  ordered_json line{{"image", image}, {"question", question}, {"answer", answer.text()}};
  ordered_json rest = ToJson(answer);
  rest.erase("text");
  if (answer.logprobs_size() == 0) rest.erase("logprobs");
  if (answer.prompt_logprobs_size() == 0) rest.erase("prompt_logprobs");
  if (answer.relevance_size() == 0) rest.erase("relevance");
  line.update(rest);
  return line;
}

void PrintJson(const ordered_json& object) {
  std::printf("%s\n", object.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

}  // namespace diptych::cli
