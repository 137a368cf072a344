#include "gateway/admission/fair_queue.h"

#include <algorithm>
#include <utility>

namespace diptych::gateway {

FairQueue::Verdict FairQueue::Ask(const Question& question) {
  const auto found = lines_.find(question.caller);
  const int inside = found == lines_.end() ? 0 : found->second.inside;
  const int waiting = found == lines_.end() ? 0 : static_cast<int>(found->second.waiting.size());
  const int in_room = found == lines_.end() ? 0 : found->second.in_room;
  if (question.max_inflight > 0 && inside + waiting >= question.max_inflight) return Verdict::kCallerFull;
  if (inside_ < places_ && waiting_ == 0) {
    ++inside_;
    ++lines_[question.caller].inside;
    return Verdict::kEnters;
  }
  if (in_room_ >= waiting_room_ || in_room >= question.max_waiting) return Verdict::kFull;
  Wait(question, /*takes_room=*/true);
  return Verdict::kWaits;
}

void FairQueue::AskForTurn(const Question& question) {
  Wait(question, /*takes_room=*/false);
}

void FairQueue::Wait(const Question& question, bool takes_room) {
  Line& line = lines_[question.caller];
  if (line.waiting.empty()) turns_.push_back(question.caller);
  const auto before = takes_room ? line.waiting.end()
                                 : std::find_if(line.waiting.begin(), line.waiting.end(),
                                                [](const Waiter& waiter) { return waiter.takes_room; });
  line.waiting.insert(before, {question.id, question.deadline, takes_room});
  ++waiting_;
  if (!takes_room) return;
  ++line.in_room;
  ++in_room_;
}

void FairQueue::OnLeft(Line& line, const Waiter& waiter) {
  --waiting_;
  if (!waiter.takes_room) return;
  --line.in_room;
  --in_room_;
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
    OnLeft(line, *in_time);
    line.waiting.erase(in_time);
    if (line.waiting.empty()) turns_.pop_back();
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
      if (!condition(waiter)) return false;
      out.push_back(waiter.id);
      OnLeft(line, waiter);
      return true;
    });
    if (line.waiting.empty()) std::erase(turns_, caller);
    Forget(caller);
  }
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
