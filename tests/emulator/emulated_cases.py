"""What the emulated kernels are run on, and the comparison with the definition in float64."""

import torch
from emulated import ELEMENTS, diffuse, tiles
from skimage import data

from texfilters import reference

# Of a result in each dtype, in 128..255; and of the computation in float32, in grey levels after 20 steps. The emulated
# special functions are exact: what is left is the order of summation, which the scheme amplifies at edges.
ROUNDING = {torch.float32: 0.0, torch.float16: 1 / 16, torch.bfloat16: 0.5, torch.uint8: 0.5}
ERROR = 2e-3


# For the summary: (difference, of what) of every comparison, and whether each planted defect was found.
differences: list[tuple[float, str]] = []
defects: list[bool] = []


def noise(*shape, dtype=torch.float32, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 255).to(dtype)


def photo(height, width, dtype=torch.float32, images=1):
    """RGB, [images, 3, height, width]; the photo is repeated in mirrors where it is too small."""
    plane = torch.from_numpy(data.astronaut()).movedim(-1, 0)[None]
    plane = torch.cat([plane, plane.flip(-1)], dim=-1)
    return torch.cat([plane[..., 20 * i + 60 :, 30 * i + 40 :][..., :height, :width] for i in range(images)]).to(dtype)


def truth(image, niter=20, kappa=20.0, gamma=0.1, *, option=1, coupling="none", spacing=None):
    ndim = image.ndim - 2
    kappa, gamma = (torch.as_tensor(p, dtype=torch.float32).double() for p in (kappa, gamma))
    niter = torch.as_tensor(niter, dtype=torch.int32)
    return reference.anisotropic_diffusion(
        image.double(), niter, kappa, gamma, option, coupling, spacing or [1.0] * ndim, ndim
    )


def difference(image, *args, emulate=None, **options):
    """The largest one from the definition, beyond the rounding to the image's dtype; infinite if NaNs differ."""
    ours = diffuse(image, *args, **options, **(emulate or {}))
    expected = truth(image, *args, **options)
    ours = ours.double()
    if not torch.equal(ours.isnan(), expected.isnan()):
        return float("inf")
    return max(0.0, (ours - expected).nan_to_num(nan=0.0).abs().max().item() - ROUNDING[image.dtype])


def check(image, *args, emulate=None, **options):
    found = difference(image, *args, emulate=emulate, **options)
    differences.append((found, f"{tuple(image.shape)} {image.dtype} {options} {emulate or {}}"))
    assert found <= ERROR, f"{found} grey levels from the definition"


def every_tile():
    """(name, option, dtype, image, coupling): photos a little smaller than the tile, so that all its borders work."""
    for name, (channels, height, width) in tiles().items():
        for option in (1, 2, 3):
            for dtype in ELEMENTS:
                image = photo(height - 1, width - 2, dtype)
                yield (
                    name,
                    option,
                    dtype,
                    image[:, :3] if channels > 1 else image[:, :1],
                    "l2" if channels > 1 else "none",
                )
