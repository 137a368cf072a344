// Lines of the log on standard error, which may be a pipe or a socket that is not being read.
#pragma once

#include <spdlog/sinks/base_sink.h>

#include <cstdint>
#include <mutex>
#include <string_view>

namespace diptych {

// Never waits for the reader of a pipe or socket: what does not fit is lost, and the next line that fits is preceded by
// one that says how many were. Files and terminals are waited for. Thread-safe.
class StderrSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  // Writes to a copy of `descriptor`, which stays open and blocking for others.
  explicit StderrSink(int descriptor = 2);
  ~StderrSink() override;

 private:
  void sink_it_(const spdlog::details::log_msg& message) override;
  void flush_() override {}

  // Whether all of it was taken.
  bool Write(std::string_view line);

  int out_ = -1;
  bool is_socket_ = false;
  bool cut_ = false;  // the last line lacks its end
  int64_t lost_ = 0;  // since the last line that was taken
};

}  // namespace diptych
