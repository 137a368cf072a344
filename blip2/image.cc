#include "blip2/image.h"
