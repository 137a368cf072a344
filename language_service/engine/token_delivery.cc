#include "language_service/engine/token_delivery.h"

namespace diptych::language {

TokenDelivery::~TokenDelivery() {
  queue_.Close();
  thread_.join();
}

void TokenDelivery::Run() {
  while (const auto stream = queue_.Pop()) (*stream)->DeliverAdded();
}

}  // namespace diptych::language
