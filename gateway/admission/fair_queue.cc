#include "gateway/admission/fair_queue.h"

#include <algorithm>
#include <utility>

namespace diptych::gateway {

FairQueue::Verdict FairQueue::Ask(const Question& question) {
  const auto found = lines_.find(question.caller);
  const int inside = found == lines_.end() ? 0 : found->second.inside;
  const int waiting = found == lines_.end() ? 0 : static_cast<int>(found->second.waiting.size());
  if (question.max_inflight > 0 && inside + waiting >= question.max_inflight) return Verdict::kCallerFull;
  if (inside_ < places_ && waiting_ == 0) {
    ++inside_;
    ++lines_[question.caller].inside;
    return Verdict::kEnters;
  }
  if (waiting_ >= waiting_room_ || waiting >= question.max_waiting) return Verdict::kFull;
  ++waiting_;
  lines_[question.caller].waiting.push_back({question.id, question.deadline});
  if (waiting == 0) turns_.push_back(question.caller);
  return Verdict::kWaits;
}

void FairQueue::Refused() {
  ++refused_;
  places_ = std::max(1, std::min(places_, inside_ - refused_));
}

void FairQueue::Release(const std::string& caller) {
  --inside_;
  if (refused_ == 0 && places_ < most_places_) ++places_;
  --lines_[caller].inside;
  Forget(caller);
}

std::optional<FairQueue::Id> FairQueue::Next(SteadyTime now) {
  if (inside_ >= places_) return std::nullopt;
  for (size_t turns = turns_.size(); turns > 0; --turns) {
    const std::string caller = std::move(turns_.front());
    turns_.pop_front();
    Line& line = lines_[caller];
    turns_.push_back(caller);
    const auto in_time = std::find_if(line.waiting.begin(), line.waiting.end(),
                                      [&](const Waiter& waiter) { return waiter.deadline > now; });
    if (in_time == line.waiting.end()) continue;
    const Id id = in_time->id;
    line.waiting.erase(in_time);
    if (line.waiting.empty()) turns_.pop_back();
    --waiting_;
    ++inside_;
    ++line.inside;
    return id;
  }
  return std::nullopt;
}

template <typename Condition>
std::vector<FairQueue::Id> FairQueue::TakeOut(Condition&& condition) {
  std::vector<Id> out;
  for (const std::string& caller : std::vector<std::string>(turns_.begin(), turns_.end())) {
    Line& line = lines_[caller];
    std::erase_if(line.waiting, [&](const Waiter& waiter) {
      const bool goes = condition(waiter);
      if (goes) out.push_back(waiter.id);
      return goes;
    });
    if (line.waiting.empty()) std::erase(turns_, caller);
    Forget(caller);
  }
  waiting_ -= static_cast<int>(out.size());
  return out;
}

std::vector<FairQueue::Id> FairQueue::Expired(SteadyTime now) {
  return TakeOut([now](const Waiter& waiter) { return waiter.deadline <= now; });
}

bool FairQueue::Remove(Id id) {
  return !TakeOut([id](const Waiter& waiter) { return waiter.id == id; }).empty();
}

void FairQueue::Forget(const std::string& caller) {
  const auto found = lines_.find(caller);
  if (found != lines_.end() && found->second.inside == 0 && found->second.waiting.empty()) lines_.erase(found);
}

}  // namespace diptych::gateway
