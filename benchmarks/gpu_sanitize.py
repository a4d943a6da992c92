"""Small cases of the native CUDA kernels for compute-sanitizer: every tile, coupled channels, volumes, odd views.

    compute-sanitizer --tool memcheck python benchmarks/gpu_sanitize.py --seconds 30

Images come from the CPU and are compared there, so that few kernels but ours run under the tool.
"""

import argparse
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


def cases() -> Iterator[tuple[str, str, Callable[[], Tensor], dict]]:
    """Tile, name, image on the CPU, arguments. First every tile once, then the rest of what there is."""
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
            yield tile + suffix, f"{dtype}", image(shape, dtype), arguments
        if round_number == 0:
            yield from others()


def others() -> Iterator[tuple[str, str, Callable[[], Tensor], dict]]:
    for option, coupling in itertools.product((1, 2, 3), ("none", "l2")):
        arguments = {"option": option, "coupling": coupling}
        yield "", "volume", image((2, 3, 5, 9, 33), torch.float32), arguments | {"ndim": 3, "spacing": [2.0, 1.0, 0.7]}
        yield "", "channels", image((2, 4, 19, 33), torch.uint8), arguments
    per_image = {"niter": torch.tensor([0, 3, 1])}
    yield "", "one an image", image((3, 3, 31, 33), torch.uint8), per_image
    yield "", "misaligned", lambda: image((3001,), torch.uint8)()[1:].view(2, 3, 20, 25), {}
    yield "", "transposed", lambda: image((2, 3, 20, 25), torch.float16)().mT, {}
    for shape in ((1, 1), (1, 700), (700, 1), (0, 3, 4, 5), (4, 3, 0, 5)):
        yield "", "odd", image(shape, torch.float32), {}


def image(shape: tuple[int, ...], dtype: torch.dtype) -> Callable[[], Tensor]:
    return lambda: (torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 255).to(dtype)


def difference(make: Callable[[], Tensor], arguments: dict) -> float:
    """From the definition in float64, computed on the CPU. The view is made on the GPU, as the kernel is to see it."""
    here = make()
    arguments = {"niter": 3, "kappa": 20.0} | arguments
    base = here if here._base is None else here._base
    there = base.to("cuda").as_strided(here.shape, here.stride(), here.storage_offset())
    result = texfilters.anisotropic_diffusion(there, backend="native", **arguments).cpu()
    expected = texfilters.anisotropic_diffusion(here.double(), backend="reference", **arguments)
    return (result.double() - expected).abs().max().item() if expected.numel() else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="start no case after that")
    deadline = time.monotonic() + parser.parse_args().seconds
    everything, done, wrong = list(cases()), 0, 0
    for tile, name, make, arguments in everything:
        if time.monotonic() > deadline:
            break
        os.environ["TEXFILTERS_CUDA_TILE"] = tile
        found = difference(make, arguments)
        if not found <= BOUND[make().dtype]:
            wrong += 1
            print(f"wrong: tile {tile or 'chosen'}, {name}, {arguments}: {found}")
        done += 1
    torch.cuda.synchronize()
    print(f"cases: {done} of {len(everything)}, {wrong} wrong", flush=True)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
