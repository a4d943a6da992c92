"""The reference against a scalar loop and against values that MedPy printed."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch

from texfilters import anisotropic_diffusion

GOLDEN = json.loads(Path(__file__).with_name("golden").joinpath("medpy.json").read_text())


def scalar_loop(image, niter, kappa, gamma, option, coupled, spacing):
    """The definition once more, a pixel at a time, on nested dictionaries: index -> value for every channel."""
    channels, *sizes = image.shape
    u = [{i: float(image[(c, *i)]) for i in itertools.product(*map(range, sizes))} for c in range(channels)]

    def g(square):
        if option == 1:
            return math.exp(-square / kappa**2)
        if option == 2:
            return 1 / (1 + square / kappa**2)
        k = kappa * math.sqrt(2)
        return 0.5 * (1 - square / k**2) ** 2 if math.sqrt(square) <= k else 0.0

    for _ in range(niter):
        old = [dict(plane) for plane in u]
        for i in old[0]:
            for axis, s in enumerate(spacing):
                j = (*i[:axis], i[axis] + 1, *i[axis + 1 :])
                if j not in old[0]:
                    continue
                d = [plane[j] - plane[i] for plane in old]
                for c in range(channels):
                    flux = g(sum(v * v for v in d) if coupled else d[c] ** 2) * d[c] / s
                    u[c][i] += gamma * flux
                    u[c][j] -= gamma * flux
    result = torch.empty(image.shape, dtype=torch.float64)
    for c, plane in enumerate(u):
        for i, value in plane.items():
            result[(c, *i)] = value
    return result


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((3, 5, 7), (1, 1)), ((2, 4, 6), (0.8, 2.5)), ((2, 3, 4, 5), (1, 1, 1)), ((3, 2, 3, 4), (2, 1, 1.5))],
)
def test_against_a_scalar_loop(shape, spacing, coupling, option):
    image = torch.rand(shape, dtype=torch.float64) * 255
    arguments = {"niter": 6, "kappa": 40.0, "gamma": 0.12, "option": option}
    result = anisotropic_diffusion(
        image, **arguments, coupling=coupling, spacing=spacing, ndim=len(spacing), backend="reference"
    )
    expected = scalar_loop(image, **arguments, coupled=coupling == "l2", spacing=spacing)
    assert (result - expected).abs().max() <= 1e-9


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda c: f"{len(c['result'])}-{c['arguments']}")
def test_against_medpys_values(case):
    niter, kappa, gamma, spacing, option = case["arguments"]
    image = torch.tensor(case["image"], dtype=torch.float64)
    if image.ndim == 1:
        image, spacing = image[None], (1.0, *(spacing or (1.0,)))
    result = anisotropic_diffusion(
        image, niter, kappa, gamma, option=option, spacing=spacing, ndim=image.ndim, backend="reference"
    )
    # Printed to 4 decimals from float32: half a unit of that plus float32's rounding of 255.
    assert (result.flatten() - torch.tensor(case["result"], dtype=torch.float64)).abs().max() < 3e-4


def test_a_small_example_by_hand():
    # Tukey, kappa 2: k^2 = 8. The edge 1 -> 3 (d = 2) has g = 0.5 (1 - 4/8)^2 = 0.125, the edge 3 -> 13 none.
    image = torch.tensor([[1.0, 3.0, 13.0]], dtype=torch.float64)
    result = anisotropic_diffusion(image, 1, 2.0, 0.2, option=3, backend="reference")
    assert torch.allclose(result, torch.tensor([[1.05, 2.95, 13.0]], dtype=torch.float64))


def test_parameters_that_the_host_may_not_read():
    """As on a device: niter below 0 counts as 0; kappa or gamma out of range yields NaN for that image alone."""
    from texfilters import reference

    image = torch.rand(3, 1, 4, 5)
    niter, kappa = torch.tensor([-2, 2, 2]), torch.tensor([1.0, -1.0, torch.nan])
    result = reference.anisotropic_diffusion(image, niter, kappa, torch.tensor(0.1), 1, "none", [1.0, 1.0], 2)
    assert torch.equal(result[0], image[0])
    assert result[1:].isnan().all()
    gamma = torch.tensor([0.1, 0.0, -torch.inf])
    result = reference.anisotropic_diffusion(image, torch.tensor(2), kappa.abs()[0], gamma, 1, "none", [1.0, 1.0], 2)
    assert result[0].isfinite().all()
    assert result[1:].isnan().all()


def test_a_step_too_small_for_float32_is_no_step():
    image = torch.rand(1, 4, 5)
    assert torch.equal(anisotropic_diffusion(image, 3, 0.5, 1e-60, backend="reference"), image)
