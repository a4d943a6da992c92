// What the launches of every filter are told, without torch.
#pragma once

#include <cstdint>

#include "cuda/image.h"

namespace texfilters {

// Images [image, channel, y, x]. A filter works on whole images or on planes, each channel for itself.
struct FilterLaunch {
  View source, output;
  int64_t images = 0, channels = 1, height = 0, width = 0;  // of the source
  int64_t first = 0;  // image or plane that the launch begins with, where a grid does not hold all
};

}  // namespace texfilters
