#include "blip2/safetensors.h"
