#include "blip2/vision_model.h"
