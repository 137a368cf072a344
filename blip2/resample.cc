#include "blip2/resample.h"
