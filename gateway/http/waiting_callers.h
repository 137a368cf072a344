// Connections that wait for what their callers send, and which of them goes when there are too many.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <string>
#include <unordered_map>

namespace diptych::gateway {

class HttpConnection;

// An honest caller sends at once and leaves this room soon; one that only connects, goes no further than the beginning
// of TLS, or lets its body drip makes room for the next: of the host that has most here, the one that came first. So a
// host with few is not reached by what another does. Decides only. Thread-compatible.
class WaitingCallers {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // None is closed sooner: a round trip and a handshake take that long.
  static constexpr std::chrono::milliseconds kGrace{250};

  // `host`: as CallerHost says.
  void Add(HttpConnection* caller, const std::string& host, Time now);
  // Nothing, if it is not here.
  void Remove(HttpConnection* caller);
  // The one to close; it stays here until it is removed, as the newest. Null if that would be too soon.
  HttpConnection* ChooseToGo(Time now);

  size_t size() const { return places_.size(); }

 private:
  struct Entry {
    HttpConnection* caller;
    Time came;
  };
  using Line = std::list<Entry>;  // the oldest first
  using Lines = std::map<std::string, Line>;
  struct Place {
    Lines::iterator line;
    Line::iterator entry;
  };

  Lines::iterator MostCrowded();

  Lines lines_;  // by host; none is empty
  std::unordered_map<HttpConnection*, Place> places_;
};

}  // namespace diptych::gateway
