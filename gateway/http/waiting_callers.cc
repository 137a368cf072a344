#include "gateway/http/waiting_callers.h"

#include <algorithm>
#include <iterator>

namespace diptych::gateway {

void WaitingCallers::Add(HttpConnection* caller, const std::string& host, Time now) {
  const auto line = lines_.try_emplace(host).first;
  line->second.push_back({.caller = caller, .came = now});
  places_[caller] = {.line = line, .entry = std::prev(line->second.end())};
}

void WaitingCallers::Remove(HttpConnection* caller) {
  const auto place = places_.find(caller);
  if (place == places_.end()) return;
  const auto [line, entry] = place->second;
  line->second.erase(entry);
  if (line->second.empty()) lines_.erase(line);
  places_.erase(place);
}

HttpConnection* WaitingCallers::ChooseToGo(Time now) {
  if (lines_.empty()) return nullptr;
  Line& line = MostCrowded()->second;
  if (now - line.front().came < kGrace) return nullptr;
  line.front().came = now;
  HttpConnection* const caller = line.front().caller;
  line.splice(line.end(), line, line.begin());
  return caller;
}

// Of several with as many, the one whose first came first.
WaitingCallers::Lines::iterator WaitingCallers::MostCrowded() {
  return std::max_element(lines_.begin(), lines_.end(), [](const auto& one, const auto& other) {
    if (one.second.size() != other.second.size()) return one.second.size() < other.second.size();
    return one.second.front().came > other.second.front().came;
  });
}

}  // namespace diptych::gateway
