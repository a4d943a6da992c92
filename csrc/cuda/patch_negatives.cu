// The launches of patch_negatives' kernel.
#include "cuda/patch_negatives.h"

#include "cuda/patch_negatives.cuh"

namespace texfilters {

int run_patches(PatchLaunch a, void* stream) {
  const int64_t parts = tiles(a, kPatchTile, kPatchTile);
  return launch_blocks(gather_patches, a, a.images * a.results, parts, kPatchThreads, 0,
                       static_cast<cudaStream_t>(stream));
}

}  // namespace texfilters
