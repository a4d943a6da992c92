"""Every implementation of diffusion that is compared, each as a user would call it on a case."""

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

import texfilters
from texfilters import _backends, reference


@dataclass(frozen=True, eq=False)
class Case:
    image: Tensor  # uint8 [B, C, H, W], or [D, H, W] for a volume
    niter: int = 20
    kappa: float = 20.0
    gamma: float = 0.1
    option: int = 1
    coupling: str = "none"
    dtype: torch.dtype = torch.float32
    random = False

    @property
    def ndim(self) -> int:
        return 3 if self.image.ndim == 3 else 2

    def described(self, peer: "Peer") -> dict[str, Any]:
        return {
            "shape": list(self.image.shape),
            "dtype": "uint8" if not peer.same_scheme else str(self.dtype).removeprefix("torch."),
            "niter": self.niter,
            "kappa": self.kappa,
            "gamma": self.gamma,
            "option": self.option,
            "coupling": self.coupling,
        }

    def truth(self) -> Tensor:
        """The reference in float64, in bands: a step looks a row further, so `niter` more make it exact."""
        image, rows = self.image.double(), 128
        if self.ndim == 3 or image.shape[-2] <= 2 * rows:
            bands = [(0, 0, None)]
        else:
            tops = range(0, image.shape[-2], rows)
            bands = [(max(0, top - self.niter), min(top, self.niter), rows) for top in tops]
        pieces = []
        for start, skipped, kept in bands:
            band = image if kept is None else image[..., start : start + skipped + kept + self.niter, :]
            options = {"option": self.option, "coupling": self.coupling, "ndim": self.ndim, "backend": "reference"}
            singles = [band] if self.ndim == 3 else band.split(1)
            done = [texfilters.anisotropic_diffusion(x, self.niter, self.kappa, self.gamma, **options) for x in singles]
            whole = done[0] if self.ndim == 3 else torch.cat(done)
            pieces.append(whole if kept is None else whole[..., skipped : skipped + kept, :])
        return torch.cat(pieces, dim=-2)

    def errors(self, peer: "Peer", output: Any, truth: Tensor) -> dict[str, float | None]:
        difference = (as_tensor(output).double() - truth).abs()
        if not peer.same_scheme and min(self.image.shape[-2:]) > 2 * self.niter:
            # cv2 reads stale memory beyond the border from the second iteration on, and that moves in a pixel at each.
            difference = difference[..., self.niter : -self.niter, self.niter : -self.niter]
        return {"error_max": difference.max().item(), "error_mean": difference.mean().item()}


@dataclass(frozen=True)
class Peer:
    name: str
    prepare: Callable[[Any], Callable[[], Any]]  # of a case; converts the input, and what it returns is timed
    takes: Callable[[Any], bool] = lambda case: True
    threaded: bool = True
    same_scheme: bool = True
    compiles: bool = False
    instruction_set: str | None = None


def medpy(case: Case) -> Callable[[], np.ndarray]:
    """A plane at a time: on a color image as it stands MedPy would diffuse across the channels."""
    from medpy.filter.smoothing import anisotropic_diffusion

    planes = case.image.to(torch.float32).numpy()

    def run():
        out = np.empty_like(planes)
        for index in np.ndindex(planes.shape[: -case.ndim]):
            out[index] = anisotropic_diffusion(planes[index], case.niter, case.kappa, case.gamma, option=case.option)
        return out

    return run


def opencv(case: Case) -> Callable[[], list[np.ndarray]]:
    """Another scheme: 8 neighbors, one conductance from the L1 color distance, uint8 after every iteration.

    Its weight is exp(-(n / (3 * 255 * K))**2) with n the sum of |d| over the three channels. K = kappa / 255 makes that
    exp(-(d / kappa)**2) wherever the channels change alike. alpha = gamma is what a user would carry over, though its
    diagonal neighbors make it diffuse up to three times as fast; neither number changes what there is to compute.
    """
    import cv2

    images = [np.ascontiguousarray(image.movedim(0, -1).numpy()) for image in case.image]
    diffuse = cv2.ximgproc.anisotropicDiffusion
    return lambda: [diffuse(image, alpha=case.gamma, K=case.kappa / 255, niters=case.niter) for image in images]


def torch_eager(case: Case) -> Callable[[], Tensor]:
    return _texfilters(case, "reference")


def torch_compile(case: Case) -> Callable[[], Tensor]:
    """One step of the reference, compiled for the shape, and looped."""
    step = torch.compile(reference.diffusion_step, dynamic=False, fullgraph=True)
    image, kappa, gamma = case.image.to(case.dtype), torch.tensor(case.kappa), torch.tensor(case.gamma)

    def run():
        u = image
        for _ in range(case.niter):
            u = step(u, kappa, gamma, case.option, case.coupling, [1.0] * case.ndim)
        return u

    return run


def native(instruction_set: str) -> Callable[[Case], Callable[[], Tensor]]:
    def prepare(case: Case) -> Callable[[], Tensor]:
        diffuse = _texfilters(case, "native")

        def run():
            os.environ["TEXFILTERS_ISA"] = instruction_set  # read at each call
            return diffuse()

        return run

    return prepare


def _texfilters(case: Case, backend: str) -> Callable[[], Tensor]:
    image = case.image.to(case.dtype)
    options = {"option": case.option, "coupling": case.coupling, "ndim": case.ndim, "backend": backend}
    return lambda: texfilters.anisotropic_diffusion(image, case.niter, case.kappa, case.gamma, **options)


def instruction_sets() -> list[str]:
    """Those of this machine, the best first; none without the native backend."""
    if _backends._absence("native", "cpu") is not None:
        return []
    os.environ.pop("TEXFILTERS_ISA", None)
    known = ["avx512", "avx2", "baseline"]
    return known[known.index(torch.ops.texfilters_native.instruction_set()) :]


def everyone() -> list[Peer]:
    """The peers that are installed, then ours by instruction set, the best first."""
    peers = []
    if importlib.util.find_spec("medpy"):
        peers.append(Peer("MedPy", medpy, lambda case: case.coupling == "none", threaded=False))
    if _has_ximgproc():
        peers.append(Peer("cv2.ximgproc", opencv, _suits_opencv, same_scheme=False))
    peers.append(Peer("torch eager", torch_eager))
    peers.append(Peer("torch.compile", torch_compile, compiles=True))
    return peers + [Peer("texfilters", native(isa), instruction_set=isa) for isa in instruction_sets()]


def as_tensor(output: Any) -> Tensor:
    """What a peer returned, in the layout of the case."""
    if isinstance(output, list):
        return torch.stack([torch.from_numpy(image).movedim(-1, 0) for image in output])
    return torch.from_numpy(output) if isinstance(output, np.ndarray) else output


def _suits_opencv(case: Case) -> bool:
    return case.ndim == 2 and case.image.shape[1] == 3 and case.option == 1


def _has_ximgproc() -> bool:
    if not importlib.util.find_spec("cv2"):
        return False
    import cv2

    return hasattr(cv2, "ximgproc")


def set_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.ones(1 << 20).add_(1)  # has the threads there before something is timed
    if importlib.util.find_spec("cv2"):
        import cv2

        cv2.setNumThreads(threads)
