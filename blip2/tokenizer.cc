#include "blip2/tokenizer.h"
