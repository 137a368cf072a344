#include "blip2/opt.h"
