#include "blip2/pixels.h"
