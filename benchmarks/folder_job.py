"""A folder of photos through `texfilters suppress`, beside what it is made of: decode, filter and encode.

    python benchmarks/folder_job.py [--images N] [--rounds N] [--photos FOLDER ...] [--device cuda] [--out FILE]

Each part is measured alone on one core; their sum over the number of cores is what a job could take at best. Parts and
jobs take turns. A whole run is written to benchmarks/results/folder_job_<cpu>.json, and one in memory, with --folder
/dev/shm, to memory_folder_job_<cpu>.json.
"""

import argparse
import hashlib
import io
import multiprocessing
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from rich.console import Console

import folder_photos
import machine
import measure
import tables_cpu
import texfilters
import watched_job

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "pillow", "MedPy")
NITER, KAPPA, GAMMA, QUALITY = 20, 20.0, 0.1, 95
SHORTEST, LONGEST = 224, 500
MEDPY_IMAGES = 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000, help="files in the folder (default %(default)s)")
    parser.add_argument("--sample", type=int, default=500, help="of them measured alone (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="jobs (default %(default)s)")
    parser.add_argument("--photos", type=Path, nargs="+", default=[], help="folders of JPEGs to cut the images from")
    parser.add_argument("--folder", type=Path, help="where temporary files go, a few GB")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default %(default)s)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    arguments.sample = min(arguments.sample, arguments.images)

    console = Console()
    files, origin = folder_photos.sources(arguments.photos)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        source = Path(temporary) / "photos"
        folder_photos.build(source, arguments.images, SHORTEST, LONGEST, files)
        console.print(f"{arguments.images} JPEGs from {len(files)} photos ({origin})")
        result = measured(source, Path(temporary), arguments, console)
    result |= {"photos": len(files), "origin": origin}
    console.print(tables_cpu.folder_job(result), markup=False, highlight=False)

    where = "memory_" if result["file_system"] == "tmpfs" else ""
    target = arguments.out or RESULTS / f"{where}folder_job_{machine.slug(result['cpu'])}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(machine.as_json(result))
    console.print(f"wrote {target}")


def measured(source: Path, temporary: Path, arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    paths = sorted(source.rglob("*.jpg"))
    sample = random.Random(0).sample(paths, arguments.sample)
    sizes = [Image.open(path).size for path in sample]
    cores = machine.cores()
    flags = ["--niter", str(NITER), "--device", arguments.device]
    alone: list[dict[str, float]] = []
    rows: list[dict[str, Any]] = []
    # Forked first, while nothing parallel has run in this process.
    together = all_cores_at_once(sample, temporary, cores) if arguments.device == "cpu" else {}
    for number in range(arguments.rounds):
        alone.append(parts_alone(sample, temporary, arguments.device))
        console.print("alone on one core, ms an image:", _rounded(alone[-1]))
        target = temporary / f"target {number}"
        row = watched_job.run(source, target, arguments.images, flags)
        row["nothing_to_do_s"] = watched_job.run(source, target, arguments.images, flags)["wall_s"]
        rows.append(_rounded(row))
        console.print("job:", rows[-1])
    alone.append(parts_alone(sample, temporary, arguments.device))
    return machine.describe(PACKAGES) | {
        "file_system": machine.file_system(temporary),
        "images": arguments.images,
        "sample": arguments.sample,
        "target_device": torch.cuda.get_device_name() if arguments.device != "cpu" else "cpu",
        "niter": NITER,
        "quality": QUALITY,
        "longer_side": [SHORTEST, LONGEST],
        "mean_pixels": round(statistics.mean(width * height for width, height in sizes)),
        "mean_bytes": round(statistics.mean(path.stat().st_size for path in sample)),
        "alone_ms": [_rounded(turn) for turn in alone],
        "all_cores_at_once_ms": _rounded(together),
        "medpy_ms": measure.rounded(medpy_ms(sample[:MEDPY_IMAGES])),
        "rows": rows,
    }


def parts_alone(sample: Sequence[Path], temporary: Path, device: str = "cpu") -> dict[str, float]:
    """Milliseconds an image of each part with one thread, one file after the other, without the command's own code.

    A file's bytes are decoded to a picture and that to planes, `[3, H, W]`; the filter takes and gives planes; these
    become a picture again, which is encoded to bytes. What a job must do with its files is measured beside that. On a
    GPU the filter's time holds both copies.
    """
    torch.set_num_threads(1)
    # It stays for now: where many files were removed of late, ext4 takes a hundred times as long to make new ones.
    folder = Path(tempfile.mkdtemp(dir=temporary))
    for path in sample[:3]:
        _seconds(path, folder, device)
    times = [_seconds(path, folder, device) for path in sample]
    return {part: 1e3 * statistics.mean(one[part] for one in times) for part in times[0]}


def _seconds(path: Path, folder: Path, device: str) -> dict[str, float]:
    clock = [time.perf_counter()]

    def since_then() -> float:
        clock.append(time.perf_counter())
        return clock[-1] - clock[-2]

    data = path.read_bytes()
    hashlib.sha256(data).hexdigest()
    files = since_then()
    image = Image.open(io.BytesIO(data))
    image.load()
    decode = since_then()
    bands = bytearray().join(image.tobytes("raw", band) for band in "RGB")
    planes = torch.frombuffer(bands, dtype=torch.uint8).view(3, image.height, image.width)
    to_planes = since_then()
    planes = texfilters.anisotropic_diffusion(planes.to(device), NITER, KAPPA, GAMMA).cpu()
    filter = since_then()
    channels = [Image.frombuffer("L", image.size, plane, "raw", "L", 0, 1) for plane in planes.numpy()]
    image = Image.merge("RGB", channels)
    from_planes = since_then()
    result = io.BytesIO()
    image.save(result, "JPEG", quality=QUALITY, subsampling=0)
    encode = since_then()
    hashlib.sha256(result.getbuffer()).hexdigest()
    temporary = folder / "temporary"
    temporary.write_bytes(result.getbuffer())
    temporary.rename(folder / path.name)
    files += since_then()
    return {
        "decode": decode,
        "to_planes": to_planes,
        "filter": filter,
        "from_planes": from_planes,
        "encode": encode,
        "files": files,
    }


def all_cores_at_once(sample: Sequence[Path], temporary: Path, cores: int) -> dict[str, float]:
    """The same while every core does it: what they share (caches, memory, clock) is no fault of a job."""
    shares = [(sample[core::cores], temporary) for core in range(cores)]
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        pool.starmap(parts_alone, shares, chunksize=1)
        turns = pool.starmap(parts_alone, shares, chunksize=1)
    return {part: statistics.mean(turn[part] for turn in turns) for part in turns[0]}


def medpy_ms(sample: Sequence[Path]) -> float | None:
    """Milliseconds an image of the same filter in MedPy, which takes a channel at a time in float32."""
    try:
        from medpy.filter.smoothing import anisotropic_diffusion
    except ImportError:
        return None
    planes = [np.array(Image.open(path), np.float32) for path in sample]
    start = time.perf_counter()
    for image in planes:
        for channel in range(3):
            anisotropic_diffusion(image[..., channel], NITER, KAPPA, GAMMA, option=1)
    return 1e3 * (time.perf_counter() - start) / len(sample)


def _rounded(values: dict[str, float]) -> dict[str, float | None]:
    return {name: measure.rounded(value) for name, value in values.items()}


if __name__ == "__main__":
    main()
