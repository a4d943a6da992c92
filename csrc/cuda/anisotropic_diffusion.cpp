// Perona-Malik diffusion on CUDA tensors: what torch says, in the terms of anisotropic_diffusion.h.
#include "cuda/anisotropic_diffusion.h"

#include <torch/csrc/stable/ops.h>

#include <algorithm>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "cuda/anisotropic_diffusion_parameters.h"
#include "cuda/dimensions.h"
#include "cuda/torch_device.h"

namespace texfilters {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// The plan, unless TEXFILTERS_CUDA_TILE=NAME or NAME/STEPS asks for another.
DiffusionPlan plan(const DiffusionShape& shape) {
  const char* forced = std::getenv("TEXFILTERS_CUDA_TILE");
  if (forced == nullptr || *forced == 0) return plan_diffusion(shape);
  const std::string name(forced, std::find(forced, forced + std::string(forced).size(), '/'));
  const char* steps = forced + name.size();
  const DiffusionPlan plan = plan_diffusion(shape, name.c_str(), *steps ? std::atoi(steps + 1) : 0);
  STD_TORCH_CHECK(plan.cost >= 0, "TEXFILTERS_CUDA_TILE must name a tile that suits the image, got ", forced);
  return plan;
}

class Diffusion {
 public:
  Diffusion(const Tensor& image, const Tensor& output, const Tensor& niter, const Tensor& kappa, const Tensor& gamma,
            int64_t option, bool coupled, const std::vector<double>& spacing)
      : image_(image),
        parameters_(image, static_cast<int64_t>(spacing.size()), niter, kappa, gamma),
        stream_(current_stream(image)) {
    const int64_t ndim = static_cast<int64_t>(spacing.size()), dims = image.dim(), front = dims - ndim;
    const bool one_an_image = front == 2, has_channels = front > 0;
    launch_.source = view(image, image.const_data_ptr(), ndim);
    launch_.output = view(output, output.mutable_data_ptr(), ndim);
    launch_.depth = ndim == 3 ? image.size(dims - 3) : 1;
    launch_.height = image.size(dims - 2);
    launch_.width = image.size(dims - 1);
    launch_.option = static_cast<int32_t>(option);
    for (int64_t i = 0; i < ndim; ++i) launch_.inverse_spacing[i] = static_cast<float>(1 / spacing[ndim - 1 - i]);

    // Images and channels of a launch; what cannot be told so takes launches of its own.
    if (coupled && has_channels) {
      launch_.coupled_channels = image.size(front - 1);
      launch_.source.channel = image.stride(front - 1);
      launch_.output.channel = output.stride(front - 1);
      outer_ = leading(image, output, front - 1);
      launch_.channels = 1;
      take(launch_.images, launch_.source.image, launch_.output.image);
    } else if (one_an_image) {
      launch_.images = image.size(0);
      launch_.source.image = image.stride(0);
      launch_.output.image = output.stride(0);
      launch_.channels = image.size(1);
      launch_.source.channel = image.stride(1);
      launch_.output.channel = output.stride(1);
    } else {
      outer_ = leading(image, output, front);
      take(launch_.channels, launch_.source.channel, launch_.output.channel);
      take(launch_.images, launch_.source.image, launch_.output.image);
    }
  }

  void run() {
    DiffusionShape shape;
    shape.planes = launch_.images * launch_.channels;
    shape.coupled_channels = launch_.coupled_channels;
    shape.depth = launch_.depth;
    shape.height = launch_.height;
    shape.width = launch_.width;
    shape.stride_y = launch_.source.y;
    shape.stride_x = launch_.source.x;
    shape.pixel_bytes = bytes(launch_.source.element);
    shape.iterations = parameters_.iterations_known() ? parameters_.most_iterations(stream_) : kTypical;
    const int device = image_.get_device_index();
    check(cudaDeviceGetAttribute(&shape.multiprocessors, cudaDevAttrMultiProcessorCount, device));
    check(cudaDeviceGetAttribute(&shape.shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    check(cudaDeviceGetAttribute(&shape.shared_together, cudaDevAttrMaxSharedMemoryPerMultiprocessor, device));
    DiffusionPlan plan = texfilters::plan(shape);
    if (!parameters_.iterations_known()) {
      if (plan.tile != DiffusionPlan::kStep && plan.halo == 0) {
        plan.steps = std::numeric_limits<int32_t>::max();  // one launch, in which each image reads its own
      } else {
        shape.iterations = parameters_.most_iterations(stream_);
        plan = texfilters::plan(shape);
      }
    }
    parameters_.send(launch_, image_, stream_);
    if (launch_.depth * launch_.height * launch_.width == 1) {  // no edges: a copy
      shape.iterations = 0;
      launch_.niter = {};
      launch_.copies = true;
    }

    std::vector<Tensor> states;
    void* data[2] = {};
    for (int i = 0; i < plan.states(shape.iterations); ++i) {
      states.push_back(torch::stable::new_empty(image_, {pixels()}, ScalarType::Float));
      data[i] = states.back().mutable_data_ptr();
    }
    for_indices(outer_, [&](int64_t in, int64_t out) {
      DiffusionLaunch launch = launch_;
      advance(launch.source, in);
      advance(launch.output, out);
      check(run_diffusion(launch, plan, shape.iterations, data, stream_));
    });
  }

 private:
  // An estimate to plan with where the host may not know.
  static constexpr int64_t kTypical = 20;

  static View view(const Tensor& tensor, const void* data, int64_t ndim) {
    const int64_t dims = tensor.dim();
    return {const_cast<void*>(data), element(tensor.scalar_type()), 0, 0, ndim == 3 ? tensor.stride(dims - 3) : 0,
            tensor.stride(dims - 2), tensor.stride(dims - 1)};
  }

  // Of one pass over the dimensions that a launch tells.
  int64_t pixels() const {
    return launch_.images * launch_.channels * launch_.coupled_channels * launch_.depth * launch_.height *
           launch_.width;
  }

  // The innermost of the leading dimensions that are left.
  void take(int64_t& size, int64_t& in, int64_t& out) {
    size = 1;
    if (outer_.empty()) return;
    size = outer_.back().size;
    in = outer_.back().in;
    out = outer_.back().out;
    outer_.pop_back();
  }

  const Tensor& image_;
  DiffusionParameters parameters_;
  cudaStream_t stream_;
  DiffusionLaunch launch_;
  std::vector<Dimension> outer_;  // those that a launch cannot tell
};

Tensor anisotropic_diffusion(const Tensor& image, const Tensor& niter, const Tensor& kappa, const Tensor& gamma,
                             int64_t option, std::string coupling, std::vector<double> spacing, int64_t ndim) {
  check_diffusion(image, option, spacing, ndim);
  const DeviceGuard guard(image.get_device_index());
  const Tensor output = torch::stable::empty_like(image);
  if (image.numel() > 0) Diffusion(image, output, niter, kappa, gamma, option, coupling == "l2", spacing).run();
  return output;
}

std::string cuda_problem_on(int64_t device) {
  const DeviceGuard guard(static_cast<int32_t>(device));
  const char* problem = cuda_problem();
  return problem == nullptr ? "" : problem;
}

std::vector<std::string> cuda_tiles() {
  std::vector<std::string> names{"step"};
  for (const TileShape& tile : tile_shapes()) names.push_back(tile.name);
  return names;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CompositeExplicitAutograd, m) {
  m.impl("cuda_problem", TORCH_BOX(&cuda_problem_on));
  m.impl("cuda_tiles", TORCH_BOX(&cuda_tiles));
}

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("anisotropic_diffusion", TORCH_BOX(&anisotropic_diffusion));
}

}  // namespace texfilters
