#include "common/process/build_info.h"

namespace diptych {

std::string_view Version() {
  return DIPTYCH_VERSION;
}

std::string_view Commit() {
  return DIPTYCH_COMMIT;
}

}  // namespace diptych
