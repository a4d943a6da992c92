"""The robust kappa against NumPy, on drawn images, and its picture."""

import numpy as np
import pytest
import torch

import texfilters
from texfilters.evaluate.texture import gradient_norm, robust_kappa
from texture_cases import drawn, luma, norm


class TestRobustKappa:
    def expected(self, image):
        gradient = norm(luma(image.astype(float)))[:-1, :-1]
        return 1.4826 * np.median(np.abs(gradient - np.median(gradient)))

    def test_it_is_the_deviation_of_the_gradient(self):
        images = torch.stack([drawn(noise=noise)[0] for noise in (3, 6, 12)])
        expected = [self.expected(image.numpy()) for image in images]
        np.testing.assert_allclose(robust_kappa(images), expected, rtol=1e-5)
        np.testing.assert_allclose(robust_kappa(images.float() / 255), np.array(expected) / 255, rtol=1e-4)
        assert robust_kappa(images).dtype == torch.float32

    def test_an_even_number_of_pixels(self):
        image = torch.tensor([[0.0, 1, 3, 7, 20], [0, 1, 3, 7, 20]])[None, None]
        # Gradients 1, 2, 4, 13: median 3, deviations 2, 1, 1, 10, their median 1.5.
        assert robust_kappa(image).item() == pytest.approx(1.4826 * 1.5)

    @pytest.mark.parametrize(
        ("option", "conductance"),
        [
            (1, lambda d, k: np.exp(-((d / k) ** 2))),
            (2, lambda d, k: 1 / (1 + (d / k) ** 2)),
            (3, lambda d, k: 0.5 * (1 - d**2 / (2 * k**2)) ** 2 * (d**2 <= 2 * k**2)),
        ],
    )
    def test_the_flux_of_an_option_is_greatest_at_sigma(self, option, conductance):
        image = drawn()[0][None]
        sigma, kappa = robust_kappa(image).item(), robust_kappa(image, option=option).item()
        differences = np.linspace(0, 4 * sigma, 4001)
        flux = conductance(differences, kappa) * differences
        assert differences[flux.argmax()] == pytest.approx(sigma, rel=2e-3)

    def test_the_diffusion_takes_it(self):
        images = torch.stack([drawn(noise=noise)[0] for noise in (3, 12)])
        kappa = robust_kappa(images, option=1)
        together = texfilters.anisotropic_diffusion(images, 5, kappa)
        for i in range(2):
            alone = texfilters.anisotropic_diffusion(images[i], 5, kappa[i].item())
            assert torch.equal(together[i], alone)

    def test_flat_images(self):
        flat, textured = torch.full_like(drawn()[0], 3), drawn()[0]
        images = torch.stack([textured, flat])
        with pytest.raises(ValueError, match=r"got sigma_e 0 for image 1 \(1 such\): give the least kappa"):
            robust_kappa(images)
        assert robust_kappa(images, option=1, least=2.0).tolist() == [robust_kappa(images[:1], option=1).item(), 2]
        with pytest.raises(ValueError, match="got sigma_e nan for image 0"):
            robust_kappa(images.float() * np.nan, least=1.0)

    def test_bad_input(self):
        image = drawn()[0]
        with pytest.raises(ValueError, match=r"must have shape \[N, C, H, W\], of 2 x 2 pixels at least"):
            robust_kappa(image)
        with pytest.raises(ValueError, match="option must be one of 1, 2, 3, got 4"):
            robust_kappa(image[None], option=4)
        with pytest.raises(ValueError, match=r"\[N, 1, H, W\] or \[N, 3, H, W\], got \(1, 2, 48, 64\)"):
            gradient_norm(image[None, :2])

    def test_the_picture(self, tmp_path):
        pytest.importorskip("matplotlib", reason="needs matplotlib")
        from texfilters.evaluate import figures, texture_figure

        image = drawn()[0]
        figure = texture_figure.kappa_figure(image)
        value = robust_kappa(image[None], option=1).item()
        edges = np.array(figure.axes[1].get_images()[0].get_array())
        np.testing.assert_array_equal(edges == 0, norm(luma(image.numpy().astype(float))) > value)
        assert figure.axes[3].get_title() == f"kappa {value:.3g} grey levels"
        for name in ("kappa.png", "kappa.jpg", "kappa.svg"):
            figures.save(figure, tmp_path / name)
            assert (tmp_path / name).stat().st_size > 5000
        with pytest.raises(ValueError, match="image must have shape"):
            texture_figure.kappa_figure(image[None])
        flat = torch.full_like(image, 3)
        assert texture_figure.kappa_figure(flat, least=2.0).axes[3].get_title() == "kappa 2 grey levels"
