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

using CopyPieces = void (*)(const char* source, int64_t source_y, const int64_t* offsets, int64_t count, int64_t bytes,
                            char* target, int64_t target_y);

CopyPieces pieces_kernel(Isa isa) {
  return TEXFILTERS_FOR_ISA(isa, copy_pieces);
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

// One result: where in a plane of the image the squares of its cells begin, in bytes, row by row.
struct Tiling {
  int64_t size, columns;
  std::vector<int64_t> offsets;
};

std::vector<Tiling> tilings(const Tensor& image, const Tensor& patch_size, const Tensor& places) {
  const int64_t height = image.size(2), width = image.size(3);
  const auto element = static_cast<int64_t>(image.element_size());
  const int64_t bytes_y = image.stride(2) * element, bytes_x = image.stride(3) * element;
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
      tiling.offsets.reserve(cells);
      for (int64_t cell = 0; cell < cells; ++cell) {
        const int64_t y = origins(b, i, cell, 0), x = origins(b, i, cell, 1);
        STD_TORCH_CHECK(y >= 0 && y <= height - size && x >= 0 && x <= width - size,
                        "places must lie within the image, got (", y, ", ", x, ") for patch_size ", size);
        tiling.offsets.push_back(y * bytes_y + x * bytes_x);
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
  const CopyPieces copy = pieces_kernel(current_isa());
  const Bands bands(count, height, 0, 0.05 * kBytes * static_cast<double>(count) * static_cast<double>(height * width));
  bands.run([&](int64_t, int64_t plane, int64_t begin, int64_t end) {
    const int64_t result = plane / channels, channel = plane % channels;
    const T* source = data + result / results * image.stride(0) + channel * image.stride(1);
    const Tiling& tiling = all[result];
    const int64_t size = tiling.size, before = tiling.columns - 1;
    // Row by row, not square by square: what is written follows what was written before, and where the next row is read
    // is known a row ahead. The last piece is shorter, and apart, so that branches can be predicted.
    for (int64_t y = begin; y < end; ++y) {
      const int64_t* offsets = tiling.offsets.data() + y / size * tiling.columns;
      const char* from = reinterpret_cast<const char*>(source + y % size * step_y);
      T* to = target + (plane * height + y) * width;
      if (step_x == 1) {
        const auto pieces = [&](int64_t first, int64_t count, int64_t columns) {
          copy(from, step_y * kBytes, offsets + first, count, columns * kBytes,
               reinterpret_cast<char*>(to + first * size), width * kBytes);
        };
        pieces(0, before, size);
        pieces(before, 1, width - before * size);
        continue;
      }
      for (int64_t x = 0; x < width; x += size, ++offsets) {
        const T* piece = reinterpret_cast<const T*>(from + *offsets);
        const int64_t columns = std::min(size, width - x);
        for (int64_t i = 0; i < columns; ++i) to[x + i] = piece[i * step_x];
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
