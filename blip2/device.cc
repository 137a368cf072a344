#include "blip2/device.h"
