#include "blip2/cuda/recording.h"

#include <exception>
#include <utility>

#include "common/text/utf8.h"

namespace diptych::blip2 {

Recording::Recording(RecordStep record, OnFailure on_failure)
    : record_(std::move(record)), on_failure_(std::move(on_failure)) {}

bool Recording::Try(const std::function<void()>& work) {
  std::string why;
  try {
    work();
    return true;
  } catch (const std::exception& error) {
    why = FirstLine(error.what());
  } catch (...) {
    why = "an exception of unknown type";
  }
  record_ = nullptr;
  if (on_failure_) on_failure_(why);
  return false;
}

}  // namespace diptych::blip2
