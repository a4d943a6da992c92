// Patch negatives on the CPU: every row of the result is made of pieces of rows of the image.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cpu/bands.h"
#include "cpu/dispatch.h"
#include "cpu/isa.h"

#define TEXFILTERS_ISA_FILE "cpu/patch_negatives.simd.h"
#include "cpu/foreach_isa.h"

namespace texfilters {
namespace {

// `rows` pieces of `bytes` each, their strides in bytes.
using CopyRectangle = void (*)(const char* source, int64_t source_y, char* target, int64_t target_y, int64_t bytes,
                               int64_t rows);

CopyRectangle rectangle_kernel(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, copy_rectangle);
}

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Whole numbers of either width, of any strides.
class Integers {
 public:
  Integers(const char* name, const Tensor& tensor) : data_(tensor.const_data_ptr()), strides_(tensor.strides().vec()) {
    STD_TORCH_CHECK(tensor.is_cpu(), name, " must be on the CPU");
    STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Int || tensor.scalar_type() == ScalarType::Long, name,
                    " must be int32 or int64");
    wide_ = tensor.scalar_type() == ScalarType::Long;
  }
  template <class... Index>
  int64_t operator()(Index... index) const {
    int64_t offset = 0, i = 0;
    ((offset += index * strides_[i++]), ...);
    return wide_ ? static_cast<const int64_t*>(data_)[offset] : static_cast<const int32_t*>(data_)[offset];
  }

 private:
  const void* data_;
  std::vector<int64_t> strides_;
  bool wide_;
};

struct Place {
  int64_t y, x;
};

// One result: the squares of its cells, row by row.
struct Tiling {
  int64_t size, columns;
  std::vector<Place> places;
};

std::vector<Tiling> tilings(const Tensor& image, const Tensor& patch_size, const Tensor& places) {
  const int64_t height = image.size(2), width = image.size(3);
  const Integers sizes("patch_size", patch_size), origins("places", places);
  std::vector<Tiling> result;
  for (int64_t b = 0; b < patch_size.size(0); ++b) {
    for (int64_t i = 0; i < patch_size.size(1); ++i) {
      const int64_t size = sizes(b, i);
      STD_TORCH_CHECK(size >= 1 && size <= std::min(height, width), "patch_size must lie in [1, ",
                      std::min(height, width), "], got ", size);
      const int64_t columns = (width - 1) / size + 1, cells = columns * ((height - 1) / size + 1);
      STD_TORCH_CHECK(cells <= places.size(2), "places must have ", cells, " cells for patch_size ", size, ", got ",
                      places.size(2));
      Tiling tiling{size, columns, {}};
      tiling.places.reserve(cells);
      for (int64_t cell = 0; cell < cells; ++cell) {
        const Place place{origins(b, i, cell, 0), origins(b, i, cell, 1)};
        STD_TORCH_CHECK(place.y >= 0 && place.y <= height - size && place.x >= 0 && place.x <= width - size,
                        "places must lie within the image, got (", place.y, ", ", place.x, ") for patch_size ", size);
        tiling.places.push_back(place);
      }
      result.push_back(std::move(tiling));
    }
  }
  return result;
}

template <class T>
void run(const Tensor& image, const Tensor& output, const std::vector<Tiling>& all) {
  const int64_t results = output.size(1), channels = image.size(1), height = image.size(2), width = image.size(3);
  const int64_t count = static_cast<int64_t>(all.size()) * channels;
  if (count * height * width == 0) return;
  const T* data = static_cast<const T*>(image.const_data_ptr());
  T* target = static_cast<T*>(output.mutable_data_ptr());
  const int64_t step_y = image.stride(2), step_x = image.stride(3);
  constexpr int64_t kBytes = sizeof(T);
  const CopyRectangle copy = rectangle_kernel(current_isa());
  const Bands bands(count, height, 0, 0.2 * kBytes * static_cast<double>(count) * static_cast<double>(height * width));
  bands.run([&](int64_t, int64_t plane, int64_t begin, int64_t end) {
    const int64_t result = plane / channels, channel = plane % channels;
    const T* source = data + result / results * image.stride(0) + channel * image.stride(1);
    const Tiling& tiling = all[result];
    // Square by square, not row by row: pieces of one length follow one another, which branches are predicted by.
    for (int64_t y = begin, next; y < end; y = next) {
      const int64_t cell_row = y / tiling.size;
      next = std::min(end, (cell_row + 1) * tiling.size);
      const Place* place = tiling.places.data() + cell_row * tiling.columns;
      for (int64_t x = 0; x < width; x += tiling.size, ++place) {
        const int64_t columns = std::min(tiling.size, width - x);
        const T* from = source + (place->y + y - cell_row * tiling.size) * step_y + place->x * step_x;
        T* to = target + (plane * height + y) * width + x;
        if (step_x == 1) {
          copy(reinterpret_cast<const char*>(from), step_y * kBytes, reinterpret_cast<char*>(to), width * kBytes,
               columns * kBytes, next - y);
          continue;
        }
        for (int64_t row = y; row < next; ++row, from += step_y, to += width) {
          for (int64_t i = 0; i < columns; ++i) to[i] = from[i * step_x];
        }
      }
    }
  });
}

Tensor patch_negatives(const Tensor& image, const Tensor& patch_size, const Tensor& places) {
  STD_TORCH_CHECK(image.dim() == 4, "image must have 4 dimensions, got ", image.dim());
  STD_TORCH_CHECK(patch_size.dim() == 2 && patch_size.size(0) == image.size(0), "patch_size must have shape [B, n]");
  STD_TORCH_CHECK(places.dim() == 4 && places.size(0) == image.size(0) && places.size(1) == patch_size.size(1) &&
                      places.size(3) == 2,
                  "places must have shape [B, n, cells, 2]");
  const std::vector<Tiling> all = tilings(image, patch_size, places);
  const std::vector<int64_t> shape = {image.size(0), patch_size.size(1), image.size(1), image.size(2), image.size(3)};
  const Tensor output = torch::stable::new_empty(image, shape);
  with_element_type(image, [&](auto element) {
    constexpr std::size_t kSize = sizeof(element);
    if constexpr (kSize == 1) run<uint8_t>(image, output, all);
    if constexpr (kSize == 2) run<uint16_t>(image, output, all);
    if constexpr (kSize == 4) run<uint32_t>(image, output, all);
    if constexpr (kSize == 8) run<uint64_t>(image, output, all);
  });
  return output;
}

}  // namespace

STABLE_TORCH_LIBRARY_IMPL(texfilters_native, CPU, m) {
  m.impl("patch_negatives", TORCH_BOX(&patch_negatives));
}

}  // namespace texfilters
