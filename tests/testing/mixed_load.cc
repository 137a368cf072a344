#include "tests/testing/mixed_load.h"

#include <grpcpp/grpcpp.h>

#include <fstream>
#include <latch>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/grpc/grpc_status.h"
#include "common/status.h"
#include "tests/testing/sample_images.h"

namespace diptych::testing {
namespace {

enum class Kind { kText, kNewImage, kSharedImage, kCaption, kTwoImages, kConversation, kStream, kLeaves, kHurried };

// In this order over and over; what most users do stands in it most often.
constexpr Kind kKinds[] = {Kind::kSharedImage, Kind::kText,         Kind::kNewImage, Kind::kLeaves,
                           Kind::kSharedImage, Kind::kCaption,      Kind::kStream,   Kind::kHurried,
                           Kind::kTwoImages,   Kind::kConversation, Kind::kNewImage, Kind::kLeaves};

constexpr absl::Duration kShortDeadline = absl::Milliseconds(40);
// Between the deadline and the moment when a caller on a busy machine sees its call end.
constexpr absl::Duration kGrace = absl::Seconds(1);

struct Request {
  Kind kind = Kind::kText;
  v1::Question question;
  std::string truth;  // empty: any answer
};

void AddTurn(v1::Question& question, v1::Role role, const std::string& text) {
  v1::Turn* turn = question.add_turns();
  turn->set_role(role);
  turn->set_text(text);
}

void SetTokens(v1::Question& question, int count) {
  question.mutable_generation()->set_max_new_tokens(count);
  question.mutable_generation()->set_min_new_tokens(count);
}

// What follows a PNG's end is another file and the same image.
std::string NewImage(int number) {
  return absl::StrCat(GoodPng(), "image ", number);
}

Request MakeRequest(int number) {
  Request request;
  request.kind = kKinds[number % std::size(kKinds)];
  v1::Question& question = request.question;
  const auto add_image = [&](bool shared) { question.add_images()->set_data(shared ? GoodPng() : NewImage(number)); };
  switch (request.kind) {
    case Kind::kText:
      question.set_prompt(absl::StrCat("text ", number));
      SetTokens(question, 5 + number % 40);
      break;
    case Kind::kNewImage:
    case Kind::kSharedImage:
    case Kind::kHurried:
      add_image(request.kind == Kind::kSharedImage);
      AddTurn(question, v1::ROLE_USER, "What color is the circle?");
      request.truth = "red";
      break;
    case Kind::kCaption:
      add_image(true);
      request.truth = "a red circle in the top left and a small blue star in the center";
      break;
    case Kind::kTwoImages:
      add_image(true);
      add_image(false);
      AddTurn(question, v1::ROLE_USER, "What color is the circle?");
      break;
    case Kind::kConversation:
      add_image(true);
      AddTurn(question, v1::ROLE_USER, "What color is the circle?");
      AddTurn(question, v1::ROLE_ASSISTANT, "red");
      AddTurn(question, v1::ROLE_USER, "What color is the star?");
      break;
    case Kind::kStream:
    case Kind::kLeaves:
      add_image(request.kind == Kind::kStream);
      SetTokens(question, 60);
      break;
  }
  return request;
}

absl::StatusOr<std::string> AskUnary(v1::GatewayService::Stub& gateway, const Request& request,
                                     grpc::ClientContext& context) {
  v1::AskRequest message;
  *message.mutable_question() = request.question;
  v1::AskResponse response;
  const absl::Status status = FromGrpcStatus(gateway.Ask(&context, message, &response));
  if (!status.ok()) return status;
  return response.answer().text();
}

// `leave_after` events the caller leaves; -1: never.
absl::StatusOr<std::string> AskStream(v1::GatewayService::Stub& gateway, const Request& request,
                                      grpc::ClientContext& context, int leave_after) {
  v1::AskStreamRequest message;
  *message.mutable_question() = request.question;
  const auto reader = gateway.AskStream(&context, message);
  if (leave_after == 0) context.TryCancel();
  absl::StatusOr<std::string> answer = absl::InternalError("the stream ended without an answer");
  int events = 0;
  for (v1::AskStreamResponse event; reader->Read(&event);) {
    if (event.has_finished()) answer = event.finished().text();
    if (++events == leave_after) context.TryCancel();
  }
  const absl::Status status = FromGrpcStatus(reader->Finish());
  if (!status.ok()) return status;
  return answer;
}

bool IsRefusal(const absl::Status& status) {
  return status.code() == absl::StatusCode::kResourceExhausted && ReasonOf(status) == reason::kQueueFull &&
         RetryAfterOf(status).has_value();
}

// Collects how requests end. Thread-safe.
class Tally {
 public:
  void Refusal(absl::Duration took) {
    std::lock_guard lock(mutex_);
    tally_.longest_refusal = std::max(tally_.longest_refusal, took);
  }

  void End(const Request& request, const absl::StatusOr<std::string>& answer, bool late) {
    std::lock_guard lock(mutex_);
    tally_.late += late ? 1 : 0;
    if (answer.ok()) {
      const bool is_true = request.truth.empty() || *answer == request.truth;
      ++(is_true ? tally_.answered : tally_.wrong);
      if (!is_true && tally_.first_fault.empty()) tally_.first_fault = absl::StrCat("answered: ", *answer);
    } else if (IsRefusal(answer.status())) {
      ++tally_.refused;
    } else if (request.kind == Kind::kHurried && answer.status().code() == absl::StatusCode::kDeadlineExceeded) {
      ++tally_.past_deadline;
    } else if (request.kind == Kind::kLeaves && answer.status().code() == absl::StatusCode::kCancelled) {
      ++tally_.cancelled;
    } else {
      ++tally_.other;
      if (tally_.first_fault.empty()) tally_.first_fault = answer.status().ToString();
    }
  }

  LoadTally Take(absl::Duration total) {
    std::lock_guard lock(mutex_);
    tally_.total = total;
    return tally_;
  }

 private:
  std::mutex mutex_;
  LoadTally tally_;
};

void RunOne(v1::GatewayService::Stub& gateway, const LoadOptions& options, int number, Tally& tally) {
  const Request request = MakeRequest(number);
  std::mt19937 random(number);
  const absl::Time deadline = absl::Now() + (request.kind == Kind::kHurried ? kShortDeadline : options.deadline);
  for (;;) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(deadline));
    const absl::Time begin = absl::Now();
    const bool streamed = request.kind == Kind::kStream || request.kind == Kind::kLeaves;
    const int leave_after = request.kind == Kind::kLeaves ? static_cast<int>(random() % 8) : -1;
    const auto answer =
        streamed ? AskStream(gateway, request, context, leave_after) : AskUnary(gateway, request, context);
    const absl::Time end = absl::Now();
    if (IsRefusal(answer.status())) tally.Refusal(end - begin);
    if (options.patient && IsRefusal(answer.status())) {
      const absl::Duration wait = *RetryAfterOf(answer.status()) * (1 + 0.25 * (random() % 5));
      // What ends a caller who has no time to come back is its own deadline: right for a short one, a fault for others.
      if (end + wait >= deadline) return tally.End(request, absl::DeadlineExceededError("refused to the end"), false);
      absl::SleepFor(wait);
      continue;
    }
    return tally.End(request, answer, end > deadline + kGrace);
  }
}

double StatusMegabytes(int pid, const std::string& field) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(file, line);) {
    double kilobytes = 0;
    if (line.rfind(field, 0) == 0 &&
        absl::SimpleAtod(line.substr(field.size(), line.find(" kB") - field.size()), &kilobytes))
      return kilobytes / 1024;
  }
  return 0;
}

}  // namespace

LoadTally RunMixedLoad(v1::GatewayService::Stub& gateway, const LoadOptions& options) {
  Tally tally;
  std::latch ready(options.requests + 1);
  std::vector<std::thread> callers;
  for (int i = 0; i < options.requests; ++i) {
    callers.emplace_back([&, i] {
      ready.arrive_and_wait();
      RunOne(gateway, options, i, tally);
    });
  }
  const absl::Time begin = absl::Now();
  ready.arrive_and_wait();
  for (std::thread& caller : callers) caller.join();
  return tally.Take(absl::Now() - begin);
}

double ResidentMegabytes(int pid) {
  return StatusMegabytes(pid, "VmRSS:");
}

double PeakMegabytes(int pid) {
  return StatusMegabytes(pid, "VmHWM:");
}

}  // namespace diptych::testing
