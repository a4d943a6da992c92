// How the CUDA kernels are told of images and of parameters; plain data, passed by value to a launch.
#pragma once

#include <cstdint>

namespace texfilters {

enum class Element : int32_t { uint8, float16, bfloat16, float32 };

constexpr int64_t bytes(Element element) {
  return element == Element::uint8 ? 1 : element == Element::float32 ? 4 : 2;
}

// [image, channel, z, y, x] in device memory; strides in elements, of any sign.
struct View {
  void* data = nullptr;
  Element element = Element::float32;
  int64_t image = 0, channel = 0, z = 0, y = 0, x = 0;
};

enum class Number : int32_t { int32, int64, float16, bfloat16, float32, float64 };

constexpr int64_t bytes(Number number) {
  return number == Number::int64 || number == Number::float64      ? 8
         : number == Number::float16 || number == Number::bfloat16 ? 2
                                                                   : 4;
}

// One value for each image, `stride` apart in device memory, or where `values` is null `all` for every image.
struct Parameter {
  const void* values = nullptr;
  Number number = Number::float64;
  int64_t stride = 0;
  double all = 0;
};

}  // namespace texfilters
