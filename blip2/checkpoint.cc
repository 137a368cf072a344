#include "blip2/checkpoint.h"
