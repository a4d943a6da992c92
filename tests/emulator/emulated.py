"""`csrc/cuda` as g++ compiles it against the emulator; and the kernels of the diffusion on the CPU, without torch."""

import ctypes
import functools
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from ctypes import c_char_p, c_double, c_int32, c_int64, c_uint64, c_void_p
from pathlib import Path

import torch

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
SOURCES = sorted([*(ROOT / "csrc" / "cuda").glob("*.c*"), *HERE.glob("emulated_*.cpp")])
SOURCES = [path for path in SOURCES if path.suffix in (".cu", ".cpp")]
TORCH = Path(torch.__file__).parent
FLAGS = ["-std=c++17", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden"]
FLAGS += ["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"]
# The stand-ins hide headers of the same names.
FLAGS += [f"-I{HERE / 'stand_ins'}", f"-I{ROOT / 'csrc'}", f"-I{HERE}", "-isystem", str(TORCH / "include")]
FLAGS += ["-DTORCH_TARGET_VERSION=0x020a000000000000"]
SANITIZE = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

ELEMENTS = {torch.uint8: 0, torch.float16: 1, torch.bfloat16: 2, torch.float32: 3}
DEFECTS = {"none": 0, "missing barrier": 1, "wrong neighbor": 2}


class Call(ctypes.Structure):
    _fields_ = [
        ("image", c_void_p),
        ("output", c_void_p),
        ("element", c_int32),
        *((name, c_int64) for name in ("images", "channels", "coupled_channels", "depth", "height", "width")),
        ("image_strides", c_int64 * 5),
        ("output_strides", c_int64 * 5),
        ("niter", c_void_p),
        ("kappa", c_void_p),
        ("gamma", c_void_p),
        ("order", c_void_p),
        ("option", c_int32),
        ("spacing", c_double * 3),
        ("tile", c_char_p),
        ("steps", c_int32),
        ("largest_grid", c_int64),
        ("seed", c_uint64),
        ("defect", c_int32),
    ]


@functools.cache
def build() -> Path:
    """The library, its objects compiled once for each state of what they include."""
    flags = [*FLAGS, *(SANITIZE if os.environ.get("TEXFILTERS_EMULATOR_SANITIZE") == "1" else ["-O2"])]
    if not shutil.which("g++"):
        raise FileNotFoundError("the emulation needs g++")
    folder = ROOT / "build" / "emulator"
    folder.mkdir(parents=True, exist_ok=True)
    # The compiler itself runs without the sanitizers, under which it takes ten times as long.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

    def made(name: str, arguments: list[str], inputs: list[Path]) -> str:
        state = [repr((flags, arguments, torch.__version__)).encode(), *(path.read_bytes() for path in inputs)]
        path = folder / f"{hashlib.sha256(b''.join(state)).hexdigest()[:16]}-{name}"
        if not path.exists():
            with tempfile.TemporaryDirectory(dir=folder) as partial:  # renamed when whole
                target = Path(partial, path.name)
                subprocess.run(["g++", *flags, *arguments, "-o", str(target)], check=True, env=environment)
                target.replace(path)
        return str(path)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(
            pool.map(
                lambda source: made(f"{source.name}.o", ["-x", "c++", "-c", str(source)], included(source)),
                SOURCES,
            )
        )
    link = ["-shared", *objects, f"-L{TORCH / 'lib'}", "-ltorch_cpu", "-Wl,-z,defs"]
    return Path(made("kernels.so", link, list(map(Path, objects))))


def included(source: Path) -> list[Path]:
    """A source and the files of this repository that it includes, directly or not."""
    folders = [HERE / "stand_ins", ROOT / "csrc", HERE]
    found = [source]
    for path in found:
        for name in re.findall(r'^#include ["<](.+)[">]', path.read_text(), re.MULTILINE):
            place = next((p for folder in [path.parent, *folders] if (p := folder / name).is_file()), None)
            if place is not None and place not in found:
                found.append(place)
    return found


@functools.cache
def library() -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(build()))
    loaded.planned.restype = c_char_p
    loaded.barriers.restype = c_uint64
    return loaded


def tiles() -> dict[str, tuple[int, int, int]]:
    """Coupled channels, height and width of every tile."""
    return {name: (channels, height, width) for name, (channels, height, width, _) in _tiles().items()}


def tile_shared() -> dict[str, int]:
    """Bytes of shared memory of a block."""
    return {name: shared for name, (*_, shared) in _tiles().items()}


def _tiles() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    name, numbers = c_char_p(), (c_int32 * 4)()
    while library().tile(len(found), ctypes.byref(name), numbers):
        found[(name.value or b"").decode()] = tuple(numbers)
    return found


def diffuse(
    image: torch.Tensor,  # [B, C, H, W] or [B, C, D, H, W]
    niter=20,
    kappa=20.0,
    gamma=0.1,
    *,
    option=1,
    coupling="none",
    spacing=None,
    tile=None,
    steps=0,
    order=None,
    largest_grid=2**31 - 1,
    seed=0,
    defect="none",
) -> torch.Tensor:
    output = torch.full_like(image, 77)  # what nobody writes shows
    call, _alive = _call(image, output, niter, kappa, gamma, option, coupling, spacing)
    call.tile = tile.encode() if tile else None
    call.steps, call.largest_grid, call.seed, call.defect = steps, largest_grid, seed, DEFECTS[defect]
    if order is not None:
        order = order.to(torch.int32).contiguous()
        call.order = order.data_ptr()
    error = ctypes.create_string_buffer(1000)
    if library().diffuse(ctypes.byref(call), error, len(error)):
        raise RuntimeError(error.value.decode())
    return output


def barriers() -> int:
    """Of all blocks of the last call."""
    return library().barriers()


def planned(
    image, niter=20, *, coupling="none", multiprocessors=132, shared=227
) -> tuple[str, int, int, int, bool, int]:
    """Tile, iterations of a launch, tiles along x and y, whether rows and columns are swapped, slices of a block."""
    call, _alive = _call(image, image, niter, 20.0, 0.1, 1, coupling, None)
    call.tile = None
    numbers = (c_int64 * 5)()
    name = library().planned(ctypes.byref(call), multiprocessors, shared * 1024, numbers)
    return name.decode(), numbers[0], numbers[1], numbers[2], bool(numbers[3]), numbers[4]


def _call(image, output, niter, kappa, gamma, option, coupling, spacing):
    ndim = image.ndim - 2
    images, channels = image.shape[:2]
    alive = [
        torch.as_tensor(niter, dtype=torch.int32),
        *(torch.as_tensor(p, dtype=torch.float32) for p in (kappa, gamma)),
    ]
    alive = [parameter.expand(images).contiguous() for parameter in alive]
    coupled = channels if coupling == "l2" else 1
    call = Call(image.data_ptr(), output.data_ptr(), ELEMENTS[image.dtype], images, channels // coupled, coupled)
    call.depth, call.height, call.width = (1, *image.shape[2:])[-3:]
    for strides, tensor in ((call.image_strides, image), (call.output_strides, output)):
        strides[:] = [*tensor.stride()[:2], *([0] * (3 - ndim)), *tensor.stride()[2:]]
    call.niter, call.kappa, call.gamma = (parameter.data_ptr() for parameter in alive)
    call.option = option
    call.spacing[:] = [*[1.0] * (3 - ndim), *(spacing or [1.0] * ndim)]
    return call, alive
