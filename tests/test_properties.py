"""What diffusion is, whatever the numbers: properties that hypothesis tries to break."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texfilters import anisotropic_diffusion

SETTINGS = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 2**32 - 1)
sides = st.integers(1, 40)
options = st.sampled_from([1, 2, 3])
couplings = st.sampled_from(["none", "l2"])
kappas = st.floats(0.5, 500)
gammas = st.floats(1e-3, 0.25)
steps = st.integers(0, 12)


def draw(seed, *shape, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype) * 255


@SETTINGS
@given(seeds, sides, sides, options, couplings, kappas, gammas, steps)
def test_the_mean_is_kept(seed, height, width, option, coupling, kappa, gamma, niter):
    image = draw(seed, 3, height, width)
    result = anisotropic_diffusion(image, niter, kappa, gamma, option=option, coupling=coupling)
    drift = result.double().mean((1, 2)) - image.double().mean((1, 2))
    assert drift.abs().max() < 1e-4  # rounding of the state, not of the fluxes, which cancel to the bit
    exact = anisotropic_diffusion(image.double(), niter, kappa, gamma, option=option, coupling=coupling)
    assert (exact.mean((1, 2)) - image.double().mean((1, 2))).abs().max() < 1e-10


@SETTINGS
@given(seeds, sides, sides, options, couplings, kappas, gammas, steps)
def test_the_range_never_grows(seed, height, width, option, coupling, kappa, gamma, niter):
    image = draw(seed, 3, height, width)
    result = anisotropic_diffusion(image, niter, kappa, gamma, option=option, coupling=coupling)
    slack = 255 * 2**-22  # float32's rounding of a sum of four fluxes
    for before, after in zip(image, result, strict=True):
        assert after.min() >= before.min() - slack
        assert after.max() <= before.max() + slack


@SETTINGS
@given(seeds, sides, sides, options, kappas, gammas, steps)
def test_flips_and_quarter_turns_commute(seed, height, width, option, kappa, gamma, niter):
    image = draw(seed, 1, height, width, dtype=torch.float64)
    result = anisotropic_diffusion(image, niter, kappa, gamma, option=option)
    for turn in (lambda u: u.flip(-1), lambda u: u.flip(-2), lambda u: u.rot90(1, (-2, -1))):
        turned = anisotropic_diffusion(turn(image), niter, kappa, gamma, option=option)
        assert (turned - turn(result)).abs().max() < 1e-6


@SETTINGS
@given(seeds, sides, sides, options, couplings, st.integers(0, 6), st.integers(0, 6))
def test_a_steps_then_b_steps_are_a_plus_b(seed, height, width, option, coupling, a, b):
    image = draw(seed, 2, height, width)
    arguments = {"kappa": 30.0, "gamma": 0.2, "option": option, "coupling": coupling}
    once = anisotropic_diffusion(image, a + b, **arguments)
    twice = anisotropic_diffusion(anisotropic_diffusion(image, a, **arguments), b, **arguments)
    assert torch.equal(once, twice)


@SETTINGS
@given(seeds, st.integers(1, 5), sides, sides, options, couplings)
def test_batch_mates_do_not_matter(seed, batch, height, width, option, coupling):
    images = draw(seed, batch, 3, height, width)
    generator = torch.Generator().manual_seed(seed)
    niter = torch.randint(0, 8, (batch,), generator=generator)
    kappa = torch.rand(batch, generator=generator) * 50 + 1
    together = anisotropic_diffusion(images, niter, kappa, option=option, coupling=coupling)
    for image, n, k, result in zip(images, niter.tolist(), kappa.tolist(), together, strict=True):
        assert torch.equal(anisotropic_diffusion(image, n, k, option=option, coupling=coupling), result)


@SETTINGS
@given(seeds, sides, sides, options)
def test_one_channel_is_coupled_with_itself_only(seed, height, width, option):
    image = draw(seed, 1, height, width)
    apart = anisotropic_diffusion(image, 5, 30.0, option=option)
    assert torch.equal(anisotropic_diffusion(image, 5, 30.0, option=option, coupling="l2"), apart)
    assert torch.equal(anisotropic_diffusion(image[0], 5, 30.0, option=option, coupling="l2"), apart[0])


@SETTINGS
@given(seeds, sides, sides, options, kappas)
def test_a_constant_image_stays_to_the_bit(seed, height, width, option, kappa):
    image = draw(seed, 1, 1, 1).expand(2, height, width)
    assert torch.equal(anisotropic_diffusion(image, 7, kappa, option=option), image)


@SETTINGS
@given(seeds, st.integers(1, 9), sides, options, st.integers(1, 4))
def test_a_volume_of_equal_slices_is_an_image(seed, height, width, option, depth):
    image = draw(seed, height, width, dtype=torch.float64)
    flat = anisotropic_diffusion(image, 5, 30.0, option=option)
    volume = anisotropic_diffusion(image.expand(depth, -1, -1), 5, 30.0, option=option, ndim=3)
    assert (volume - flat).abs().max() < 1e-9


@SETTINGS
@given(seeds, sides, sides, options, st.floats(0.01, 100))
def test_units_do_not_matter(seed, height, width, option, unit):
    image = draw(seed, height, width, dtype=torch.float64)
    result = anisotropic_diffusion(image, 5, 30.0, option=option)
    assert (anisotropic_diffusion(image * unit, 5, 30.0 * unit, option=option) / unit - result).abs().max() < 1e-6
