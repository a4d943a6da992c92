// The schemas of the kernels, one for each public function: texfilters_native has them on every device, and the tests
// once more on the emulated one.
#pragma once

namespace texfilters {

constexpr const char* kSchemas[] = {
    "anisotropic_diffusion(Tensor image, Tensor niter, Tensor kappa, Tensor gamma, int option, str coupling, "
    "float[] spacing, int ndim) -> Tensor",
    "bilateral_filter(Tensor image, int d, Tensor sigma_color, Tensor sigma_space, str border) -> Tensor",
    "gaussian_blur(Tensor image, Tensor sigma, int kernel_size, str border) -> Tensor",
    "median_blur(Tensor image, int ksize) -> Tensor",
    "rgb_to_gray(Tensor image) -> Tensor",
    "adaptive_threshold(Tensor image, int block_size, Tensor c, str method, float max_value, bool invert) -> Tensor",
    "cartoonize(Tensor image, int d, Tensor sigma_color, Tensor sigma_space, int passes, int ksize, int block_size, "
    "Tensor c) -> Tensor",
    "patch_negatives(Tensor image, Tensor patch_size, Tensor places) -> Tensor",
    "cuda_problem(int device) -> str",
    "cuda_tiles() -> str[]",
};

}  // namespace texfilters
