// Found in place of CUDA's.
#pragma once

#include "runtime_api.h"
