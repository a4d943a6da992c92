"""Small cases of the native CUDA kernels for compute-sanitizer: every filter and tile, volumes, odd views.

    compute-sanitizer --tool memcheck python benchmarks/gpu_sanitize.py --seconds 30

Images come from the CPU and are compared there, so that few kernels but ours run under the tool.
"""

import argparse
import functools
import itertools
import os
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

import texfilters

# Rounding of the result, and what float32 adds in three steps.
BOUND = {torch.uint8: 0.51, torch.float16: 0.07, torch.bfloat16: 0.51, torch.float32: 0.01}
# Of uint8, those that are defined in whole numbers, and how many levels they may be off.
WHOLE = {"median_blur": 0, "rgb_to_gray": 0, "adaptive_threshold": 0, "patch_negatives": 0, "cartoonize": 1}

Make = Callable[[], Tensor]


def cases() -> Iterator[tuple[str, str, str, Make, dict]]:
    """Tile, function, name, image on the CPU, arguments. First every tile once, the other filters, then the rest."""
    tiles = torch.ops.texfilters_native.cuda_tiles()
    for round_number in range(4):
        for tile in tiles:
            coupling = "l2" if tile.count("x") == 2 else "none"
            height, width = (40, 50) if tile == "step" else map(int, tile.split("x")[-2:])
            shape, suffix = [
                ((2, 3, height - 1, width - 3), ""),
                ((1, 3, height + 2, width + 9), "" if tile == "step" else "/2"),
                ((2, 3, 5, 7), ""),
                ((2, 3, height, width), ""),
            ][round_number]
            dtype = list(BOUND)[round_number]
            arguments = {"option": 1 + round_number % 3, "coupling": coupling}
            yield tile + suffix, "anisotropic_diffusion", f"{dtype}", image(shape, dtype), arguments
        if round_number == 0:
            yield from filters()
            for name, make, arguments in others():
                yield "", "anisotropic_diffusion", name, make, arguments


def filters() -> Iterator[tuple[str, str, str, Make, dict]]:
    """Every kernel on bytes, then on floating point, values an image, windows larger than the image and odd views."""
    sigmas = {"sigma_color": 40.0, "sigma_space": 3.0}
    bytes_of = functools.partial(image, dtype=torch.uint8)
    small = {
        "bilateral_filter": [{"d": d, **sigmas} for d in (9, 5, 15)],
        "median_blur": [{"ksize": ksize} for ksize in (3, 5, 7, 9, 31)],
        "adaptive_threshold": [{"block_size": b, "c": 2, "method": m} for b in (9, 25) for m in ("mean", "gaussian")],
        "rgb_to_gray": [{}],
        "gaussian_blur": [{"sigma": sigma} for sigma in (2.0, 0.5, 7.0)],
        "cartoonize": [{}, {"passes": 2, "ksize": 3}],
        "patch_negatives": [{"patch_size": (3, 9), "n": 2}],
    }
    for function, choices in small.items():
        for arguments in choices:
            yield "", function, "uint8", bytes_of((2, 3, 37, 45)), arguments
    for function, choices in small.items():
        for shape in ((1, 3, 1, 1), (1, 3, 2, 70), (1, 3, 70, 2), (0, 3, 9, 9)):
            if function != "patch_negatives":
                yield "", function, "odd", bytes_of(shape), choices[0]
        if function != "cartoonize":  # whose lines depend on the rounding of gray
            for dtype in (torch.float32, torch.float16, torch.bfloat16):
                if function != "adaptive_threshold" or dtype == torch.float32:
                    yield "", function, f"{dtype}", image((2, 3, 21, 33), dtype), choices[0]
        yield (
            "",
            function,
            "misaligned",
            lambda: image((2 * 3 * 20 * 25 + 1,), torch.uint8)()[1:].view(2, 3, 20, 25),
            choices[0],
        )
        yield "", function, "transposed", lambda: image((2, 3, 20, 25), torch.uint8)().mT, choices[0]
    for border in ("constant", "replicate", "reflect", "wrap"):
        yield "", "bilateral_filter", border, bytes_of((2, 1, 13, 9)), {"d": 9, **sigmas, "border": border}
        yield "", "gaussian_blur", border, bytes_of((2, 3, 13, 9)), {"sigma": 3.0, "border": border}
    two = torch.tensor([0.0, 3.0])
    yield (
        "",
        "bilateral_filter",
        "one an image",
        bytes_of((2, 3, 21, 33)),
        {"d": 0, "sigma_color": 9 * two, "sigma_space": two},
    )
    yield "", "bilateral_filter", "5 channels", bytes_of((2, 5, 21, 33)), {"d": 7, **sigmas}
    yield "", "gaussian_blur", "one an image", bytes_of((2, 3, 21, 33)), {"sigma": two}
    yield (
        "",
        "adaptive_threshold",
        "one an image",
        bytes_of((2, 1, 21, 33)),
        {"block_size": 5, "c": two, "invert": True},
    )


def others() -> Iterator[tuple[str, Make, dict]]:
    """Diffusion by whatever tile is chosen."""
    for option, coupling in itertools.product((1, 2, 3), ("none", "l2")):
        arguments = {"option": option, "coupling": coupling}
        yield "volume", image((2, 3, 5, 9, 33), torch.float32), arguments | {"ndim": 3, "spacing": [2.0, 1.0, 0.7]}
        yield "channels", image((2, 4, 19, 33), torch.uint8), arguments
    per_image = {"niter": torch.tensor([0, 3, 1])}
    yield "one an image", image((3, 3, 31, 33), torch.uint8), per_image
    yield "misaligned", lambda: image((3001,), torch.uint8)()[1:].view(2, 3, 20, 25), {}
    yield "transposed", lambda: image((2, 3, 20, 25), torch.float16)().mT, {}
    for shape in ((1, 1), (1, 700), (700, 1), (0, 3, 4, 5), (4, 3, 0, 5)):
        yield "odd", image(shape, torch.float32), {}


def image(shape: tuple[int, ...], dtype: torch.dtype) -> Make:
    return lambda: (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 255).to(dtype)


def difference(function: str, make: Make, arguments: dict) -> float:
    """From the definition on the CPU, in float64. The view is made on the GPU, as the kernel is to see it."""
    here = make()
    base = here if here._base is None else here._base
    there = base.to("cuda").as_strided(here.shape, here.stride(), here.storage_offset())
    whole = here.dtype == torch.uint8 and function in WHOLE
    result = _called(function, there, arguments, "native").cpu().double()
    expected = _called(function, here if whole else here.double(), arguments, "reference").double()
    return (result - expected).abs().max().item() if expected.numel() else 0.0


def _called(function: str, image: Tensor, arguments: dict, backend: str) -> Tensor:
    if function == "anisotropic_diffusion":
        arguments = {"niter": 3, "kappa": 20.0} | arguments
    if function == "patch_negatives":
        arguments = arguments | {"generator": torch.Generator().manual_seed(0)}
    return getattr(texfilters, function)(image, **arguments, backend=backend)


def bound(function: str, dtype: torch.dtype) -> float:
    return WHOLE[function] if dtype == torch.uint8 and function in WHOLE else BOUND[dtype]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="start no case after that")
    deadline = time.monotonic() + parser.parse_args().seconds
    everything, done, wrong = list(cases()), 0, 0
    for tile, function, name, make, arguments in everything:
        if time.monotonic() > deadline:
            break
        os.environ["TEXFILTERS_CUDA_TILE"] = tile
        found = difference(function, make, arguments)
        if not found <= bound(function, make().dtype):
            wrong += 1
            print(f"wrong: {function}, tile {tile or 'chosen'}, {name}, {arguments}: {found}")
        done += 1
    torch.cuda.synchronize()
    print(f"cases: {done} of {len(everything)}, {wrong} wrong", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
