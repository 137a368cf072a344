#include "blip2/prompt.h"
