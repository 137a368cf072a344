#include "blip2/generation.h"
