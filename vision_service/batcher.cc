#include "vision_service/batcher.h"

#include <algorithm>
#include <utility>

namespace diptych::vision {
namespace {

// Shapes come from requests, so what is remembered of them is bounded.
constexpr size_t kMaxShapesLearnt = 64;
constexpr int kDelayShare = 8;

}  // namespace

void Batcher::Unexpect(BatchShape shape) {
  const auto found = expected_.find(shape);
  if (found != expected_.end() && --found->second == 0) expected_.erase(found);
}

void Batcher::Add(uint64_t id, BatchShape shape, std::string caller, SteadyTime deadline, SteadyTime now) {
  Unexpect(shape);
  const int64_t turn = NextTurn(caller);
  const auto later = std::find_if(waiting_.begin(), waiting_.end(), [&](const Image& i) { return i.turn > turn; });
  waiting_.insert(
      later, {.id = id, .shape = shape, .caller = std::move(caller), .turn = turn, .deadline = deadline, .since = now});
}

int64_t Batcher::NextTurn(const std::string& caller) const {
  const auto last =
      std::find_if(waiting_.rbegin(), waiting_.rend(), [&](const Image& image) { return image.caller == caller; });
  return std::max(turn_, last == waiting_.rend() ? 0 : last->turn) + 1;
}

bool Batcher::Remove(uint64_t id) {
  return waiting_.remove_if([id](const Image& image) { return image.id == id; }) > 0;
}

void Batcher::SetDeadline(uint64_t id, SteadyTime deadline) {
  for (Image& image : waiting_) {
    if (image.id == id) image.deadline = deadline;
  }
}

Batcher::Plan Batcher::Next(SteadyTime now, bool may_delay) {
  Plan plan{.run = {}, .expired = Expire(now), .ask_again = {}};
  if (waiting_.empty()) return plan;
  const BatchShape shape = waiting_.front().shape;
  const size_t limit = Limit(shape);
  const auto waiting =
      std::count_if(waiting_.begin(), waiting_.end(), [&](const Image& p) { return p.shape == shape; });
  const SteadyDuration delay = std::min(options_.max_delay, ShortestPass(shape) / kDelayShare);
  const SteadyTime latest = waiting_.front().since + delay;
  if (may_delay && static_cast<size_t>(waiting) < limit && expected_.contains(shape) && now < latest) {
    plan.ask_again = latest;
    return plan;
  }
  plan.run = Upcoming();
  waiting_.remove_if([&](const Image& image) {
    const bool runs = std::find(plan.run.begin(), plan.run.end(), image.id) != plan.run.end();
    if (runs) turn_ = std::max(turn_, image.turn);
    return runs;
  });
  return plan;
}

std::vector<uint64_t> Batcher::Upcoming() const {
  std::vector<uint64_t> ids;
  if (waiting_.empty()) return ids;
  const BatchShape shape = waiting_.front().shape;
  const size_t limit = Limit(shape);
  for (const Image& image : waiting_) {
    if (ids.size() < limit && image.shape == shape) ids.push_back(image.id);
  }
  return ids;
}

void Batcher::Learn(BatchShape shape, SteadyDuration duration) {
  const auto found = shortest_pass_.find(shape);
  if (found != shortest_pass_.end()) {
    found->second = std::min(found->second, duration);
  } else if (shortest_pass_.size() < kMaxShapesLearnt) {
    shortest_pass_.emplace(shape, duration);
  }
}

std::vector<Batcher::Expired> Batcher::Expire(SteadyTime now) {
  std::vector<Expired> expired;
  for (auto image = waiting_.begin(); image != waiting_.end();) {
    if (image->deadline > now + ShortestPass(image->shape)) {
      ++image;
      continue;
    }
    // Refused because of what was learnt, not because of the clock: halved, so that one slow pass can't refuse
    // callers forever.
    if (image->deadline > now) shortest_pass_[image->shape] /= 2;
    expired.push_back({image->id, image->deadline});
    image = waiting_.erase(image);
  }
  return expired;
}

size_t Batcher::Limit(BatchShape shape) const {
  const int64_t patches = int64_t{shape.image_size} * shape.image_size;
  const int64_t allowed = int64_t{options_.image_size} * options_.image_size * options_.max_batch;
  return std::clamp<int64_t>(allowed / std::max<int64_t>(patches, 1), 1, options_.max_batch);
}

SteadyDuration Batcher::ShortestPass(BatchShape shape) const {
  const auto found = shortest_pass_.find(shape);
  return found == shortest_pass_.end() ? SteadyDuration::zero() : found->second;
}

}  // namespace diptych::vision
