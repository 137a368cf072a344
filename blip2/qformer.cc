#include "blip2/qformer.h"
