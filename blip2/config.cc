#include "blip2/config.h"
