// patch_negatives on CUDA tensors.
#include "cuda/patch_negatives.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "cuda/filter_op.h"

namespace texfilters {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Whole numbers on the image's device; those on the CPU are sent, with launches if they are few or a graph is captured,
// which would read the CPU's memory again with every replay.
class Sent {
 public:
  Sent(const Sent&) = delete;  // the table fills in where it has put them
  Sent(const char* name, const Tensor& tensor, const Tensor& image, cudaStream_t stream, DeviceTable& table)
      : tensor_(tensor) {
    numbers.wide = tensor.scalar_type() == ScalarType::Long;
    STD_TORCH_CHECK(numbers.wide || tensor.scalar_type() == ScalarType::Int, name, " must be int32 or int64");
    const bool there = on_device_of(image, tensor);
    const bool in_table = !there && (tensor.numel() <= kFew || is_capturing(stream));
    STD_TORCH_CHECK(there || tensor.is_cpu(), name, " must be on the CPU or on the image's device");
    if (in_table) {
      tensor_ = torch::stable::contiguous(tensor);
    } else if (!there) {
      // A copy of our own, not pinned even if theirs is: nobody may write to it before the device has read it.
      tensor_ = torch::stable::to(torch::stable::clone(tensor), image.device(), /*non_blocking=*/true);
    }
    for (int64_t i = 0; i < tensor_.dim(); ++i) numbers.strides[i] = tensor_.stride(i);
    if (in_table) {
      numbers.wide ? add<int64_t>(table) : add<int32_t>(table);
    } else {
      numbers.data = tensor_.const_data_ptr();
    }
  }

  Numbers numbers;

 private:
  static constexpr int64_t kFew = 2000;

  template <class T>
  void add(DeviceTable& table) {
    const T* values = static_cast<const T*>(tensor_.const_data_ptr());
    table.add(std::vector<T>(values, values + tensor_.numel()), numbers.data);
  }

  Tensor tensor_;
};

Tensor patch_negatives(Tensor image, Tensor patch_size, Tensor places) {
  check_image(image);
  STD_TORCH_CHECK(image.dim() == 4, "image must have 4 dimensions, got ", image.dim());
  const int64_t images = image.size(0), channels = image.size(1), height = image.size(2), width = image.size(3);
  STD_TORCH_CHECK(patch_size.dim() == 2 && patch_size.size(0) == images, "patch_size must have shape [B, n]");
  const int64_t results = patch_size.size(1);
  STD_TORCH_CHECK(places.dim() == 4 && places.size(0) == images && places.size(1) == results && places.size(3) == 2,
                  "places must have shape [B, n, cells, 2]");
  STD_TORCH_CHECK(std::max(height, width) <= std::numeric_limits<int32_t>::max(),
                  "image must have fewer than 2^31 rows and columns");
  const DeviceGuard guard(image.get_device_index());
  Tensor output = torch::stable::new_empty(image, {images, results, channels, height, width});
  if (output.numel() == 0) return output;
  STD_TORCH_CHECK(places.size(2) > 0, "places must have a place for every cell");

  const cudaStream_t stream = current_stream(image);
  DeviceTable table;
  Sent sizes("patch_size", patch_size, image, stream, table), sent_places("places", places, image, stream, table);
  table.send(image, stream);
  PatchLaunch launch;
  launch.source = plane_view(image, image.const_data_ptr());
  launch.source.image = image.stride(0);
  launch.output = plane_view(output, output.mutable_data_ptr());
  launch.output.image = output.stride(0);
  launch.output_result = output.stride(1);
  launch.images = images;
  launch.channels = channels;
  launch.height = height;
  launch.width = width;
  launch.patch_size = sizes.numbers;
  launch.places = sent_places.numbers;
  launch.results = results;
  launch.cells = places.size(2);
  check(run_patches(launch, stream));
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CUDA, m) {
  m.impl("patch_negatives", TORCH_BOX(&patch_negatives));
}

}  // namespace texfilters
