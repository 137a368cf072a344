#include "common/image_header.h"

#include "common/status.h"
