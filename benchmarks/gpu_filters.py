"""The filters beside the diffusion that the GPU report times, and what they are to reach."""

from dataclasses import dataclass

from gpu_cases import CASES, OURS, TARGETS, Case, Target
from timed_filters import CARTOON, GRAY, PATCHES, Filter, bilateral, gaussian, median, threshold

BATCH, SIDE = 256, 224


@dataclass(frozen=True)
class FilterCase:
    filter: Filter
    peers: tuple[str, ...]
    images: int = BATCH
    side: int = SIDE
    dtype: str = "uint8"
    note: str = ""
    small: bool = True  # a launch costs as much as the work: timed as a CUDA graph, too

    @property
    def name(self) -> str:
        kind = self.filter.name + (f", {self.dtype}" if self.dtype != "uint8" else "")
        return kind + (f", {self.note}" if self.note else "")

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.images, self.filter.channels, self.side, self.side)


_BILATERAL = bilateral(9, 3)
_MEDIANS = {ksize: median(ksize) for ksize in (3, 5, 7)}
_MEAN, _GAUSSIAN_MEAN = threshold("mean", 9), threshold("gaussian", 9)
_GAUSSIAN = gaussian(2, 3)
_EVERYONE = (*OURS, "CV-CUDA", "kornia", "cupy", "torch eager")

FILTERS = (
    FilterCase(_BILATERAL, (*OURS, "CV-CUDA", "kornia", "torch eager")),
    *(FilterCase(filter, _EVERYONE) for filter in _MEDIANS.values()),
    FilterCase(_MEAN, (*OURS, "CV-CUDA", "torch eager")),
    FilterCase(CARTOON, (*OURS, "CV-CUDA", "torch eager")),
    FilterCase(_BILATERAL, (*OURS, "CV-CUDA", "kornia", "torch eager"), dtype="float32"),
    FilterCase(_GAUSSIAN_MEAN, (*OURS, "CV-CUDA", "torch eager")),
    FilterCase(_GAUSSIAN, _EVERYONE),
    FilterCase(GRAY, (*OURS, "CV-CUDA", "kornia", "torch eager")),
    FilterCase(
        PATCHES, (*OURS, "torch eager", "Python loop"), small=False
    ),  # draws on the host, which no graph repeats
    FilterCase(CARTOON, OURS, images=1, note="one image"),
    FilterCase(_BILATERAL, OURS, images=1024, side=32, note="CIFAR"),
    # In cases of their own: what does not finish compiling takes nobody else's row along.
    FilterCase(_MEAN, ("native", "torch.compile"), note="compiled"),
    FilterCase(_GAUSSIAN, ("native", "torch.compile"), note="compiled"),
    FilterCase(_BILATERAL, ("native", "torch.compile"), note="compiled"),
)
FILTER_TARGETS = (
    Target(_BILATERAL.name, "native", "ms", 0.24),
    *(Target(_MEDIANS[ksize].name, "native", "ms", ms) for ksize, ms in ((3, 0.02), (5, 0.06), (7, 0.09))),
    Target(_MEAN.name, "native", "ms", 0.02),
    Target(CARTOON.name, "native", "ms", 0.4),
)
ALL_TARGETS = (*TARGETS, *FILTER_TARGETS)
# What has a target comes first, the diffusion before the others.
ALL_CASES: list[Case | FilterCase] = sorted(
    (*CASES, *FILTERS), key=lambda case: case.name not in {target.case for target in ALL_TARGETS}
)
