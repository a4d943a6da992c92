"""Texture suppression and the robust kappa against NumPy, on drawn images."""

import numpy as np
import pytest
import torch
from PIL import Image

import texfilters
from texfilters.evaluate import texture
from texfilters.evaluate.texture import (
    BLUR,
    FILTERS,
    Curve,
    Strengths,
    boundary_pairs,
    robust_kappa,
    suppression,
    suppression_curves,
)
from texture_cases import drawn, luma, norm


def measured(image, filtered, shares, tolerance, margin):
    """The two measures of one image, pixel by pixel."""
    before, after = norm(luma(image.astype(float))), norm(luma(filtered.astype(float)))
    height, width = before.shape

    def around(plane, y, x, distance):
        return plane[max(y - distance, 0) : y + distance + 1, max(x - distance, 0) : x + distance + 1]

    energy = left = strength = kept = 0.0
    for y in range(height):
        for x in range(width):
            if not around(shares, y, x, margin).any():
                energy += before[y, x] ** 2
                left += after[y, x] ** 2
            if shares[y, x] > 0:
                was, remains = around(before, y, x, tolerance).max(), around(after, y, x, tolerance).max()
                strength += shares[y, x] * was
                kept += shares[y, x] * min(was, remains)
    return 1 - left / energy, kept / strength


class TestSuppression:
    @pytest.mark.parametrize(("tolerance", "margin"), [(2, 5), (0, 0), (1, 9)])
    def test_it_is_the_definition(self, tolerance, margin):
        pairs = [drawn(32, 40, seed=seed) for seed in range(2)]
        images, boundaries = torch.stack([p[0] for p in pairs]), torch.stack([p[1] for p in pairs])
        filtered = texfilters.median_blur(images, 3)
        got = suppression(images, filtered, boundaries, tolerance=tolerance, margin=margin)
        for i in range(2):
            shares = boundaries[i].numpy() / 255
            removed, kept = measured(images[i].numpy(), filtered[i].numpy(), shares, tolerance, margin)
            assert 0.05 < removed < 1
            assert 0 < kept < 1
            assert got.removed[i].item() == pytest.approx(removed, rel=1e-5)
            assert got.kept[i].item() == pytest.approx(kept, rel=1e-5)

    def test_the_image_itself_and_nothing_left(self):
        image, boundary = (each[None] for each in drawn())
        same = suppression(image, image, boundary)
        assert (same.removed.item(), same.kept.item()) == (0, 1)
        gone = suppression(image, torch.zeros_like(image), boundary)
        assert (gone.removed.item(), gone.kept.item()) == (1, 0)

    def test_drawn_lines_do_not_count_beyond_the_edge_that_was(self):
        image, boundary = (each[None] for each in drawn(noise=0))
        lined = image.clone()
        lined[..., 32] = 255
        lined[..., 31] = 0
        assert suppression(image, lined, boundary).kept.item() == 1

    def test_units_do_not_matter(self):
        image, boundary = (each[None] for each in drawn())
        filtered = texfilters.gaussian_blur(image.float(), 1.0)
        one = suppression(image.float(), filtered, boundary)
        other = suppression(image.float() / 255, filtered / 255, boundary.double() / 255)
        torch.testing.assert_close(one.removed, other.removed, rtol=1e-5, atol=0)
        torch.testing.assert_close(one.kept, other.kept, rtol=1e-5, atol=0)

    def test_flat_images_have_nan(self):
        flat = torch.full((1, 3, 32, 40), 9, dtype=torch.uint8)
        boundary = drawn(32, 40)[1][None]
        got = suppression(flat, flat, boundary)
        assert got.removed.isnan().all()
        assert got.kept.isnan().all()

    def test_bad_input(self):
        image, boundary = (each[None] for each in drawn())
        both, maps = torch.cat([image, image]), torch.cat([boundary, torch.zeros_like(boundary)])
        with pytest.raises(ValueError, match=r"each image must have a boundary, got none for image 1 \(1 such\)"):
            suppression(both, both, maps)
        with pytest.raises(ValueError, match="a pixel farther than 40 from its boundaries, got none for image 0"):
            suppression(image, image, boundary, margin=40)
        with pytest.raises(ValueError, match=r"filtered must be torch.uint8 \(1, 3, 48, 64\) as the images"):
            suppression(image, image.float(), boundary)
        with pytest.raises(ValueError, match=r"need boundaries \[N, H, W\]"):
            suppression(image, image, boundary[:, 1:])
        with pytest.raises(ValueError, match=r"boundaries must lie in \[0, 1\], got 0 to 255"):
            suppression(image, image, boundary.float())
        with pytest.raises(ValueError, match="margin must be at least 0, got -1"):
            suppression(image, image, boundary, margin=-1)


class TestCurves:
    def test_means_over_images_of_several_sizes(self):
        pairs = [drawn(32, 40, seed=0), drawn(40, 32, seed=1), drawn(32, 40, seed=2), drawn(32, 40, seed=3)]
        blur = Strengths(texfilters.gaussian_blur, "sigma", (0.5, 1, 2))
        (curve,) = suppression_curves(iter(pairs), {"blur": blur}, batch_size=2)
        assert (curve.name, curve.parameter, curve.values, curve.images) == ("blur", "sigma", (0.5, 1, 2), 4)
        for i, sigma in enumerate(curve.values):
            found = [
                suppression(image[None], texfilters.gaussian_blur(image[None], sigma), boundary[None])
                for image, boundary in pairs
            ]
            assert curve.removed[i] == pytest.approx(np.mean([each.removed.item() for each in found]), rel=1e-12)
            assert curve.kept[i] == pytest.approx(np.mean([each.kept.item() for each in found]), rel=1e-12)

    def test_every_filter_of_the_library_and_diffusion_beats_blur(self):
        curves = {curve.name: curve for curve in suppression_curves([drawn()])}
        assert set(curves) == set(FILTERS)
        for name, curve in curves.items():
            if name != "cartoon":  # which draws lines
                assert min(np.diff(curve.removed)) > -0.01, name
                assert curve.removed[-1] > 0.9, name
        diffusion, blur = curves["diffusion, exponential"], curves[BLUR]
        assert diffusion.kept_at(0.9) > 0.95 > 0.6 > blur.kept_at(0.9)

    def test_between_two_strengths(self):
        curve = Curve("", "c", (1, 2, 3), (0.2, 0.6, 0.4), (0.9, 0.5, 0.3), 1)
        assert curve.kept_at(0.2) == 0.9
        assert curve.kept_at(0.3) == pytest.approx(0.8)
        assert Curve("", "c", (1, 2), (0.6, 0.4), (0.5, 0.3), 1).kept_at(0.5) == pytest.approx(0.4)
        assert np.isnan(curve.kept_at(0.1))
        assert np.isnan(curve.kept_at(0.7))

    def test_between_two_strengths_of_each_image(self):
        pairs = [drawn(noise=noise) for noise in (4, 20)]
        blur = Strengths(texfilters.gaussian_blur, "sigma", (0.5, 0.8))
        (both,) = suppression_curves(pairs, {BLUR: blur}, batch_size=1)
        alone = [suppression_curves([pair], {BLUR: blur})[0] for pair in pairs]
        at = both.removed[0] + 0.01
        expected = [curve.kept_at(at) for curve in alone]
        assert len(set(expected)) == 2
        np.testing.assert_array_equal(both.kept_at_by_image(at), expected)
        assert both.kept_at_by_image(0.999).isnan().all()
        with pytest.raises(ValueError, match="the curve of c must hold the values of each image, got its means alone"):
            Curve("c", "sigma", (1, 2), (0.2, 0.6), (0.9, 0.5), 1).kept_at_by_image(0.3)

    def test_bad_input(self):
        image, boundary = drawn()
        with pytest.raises(ValueError, match="at least one image, got none"):
            suppression_curves([])
        with pytest.raises(ValueError, match=r"images must be uint8 \[3, H, W\], got torch.float32 \(3, 48, 64\)"):
            suppression_curves([(image.float(), boundary)])
        with pytest.raises(ValueError, match="has a measure of NaN"):
            suppression_curves([(torch.zeros_like(image), boundary)])

    def test_the_picture(self, tmp_path):
        pytest.importorskip("matplotlib", reason="needs matplotlib")
        from texfilters.evaluate import figures, texture_figure

        curves = [
            Curve("diffusion, weak", "niter", (1, 2), (0.2, 0.6), (0.9, 0.7), 3, "kappa 20"),
            Curve("diffusion, strong", "niter", (1, 2), (0.2, 0.6), (0.96, 0.76), 3, "kappa 20"),
            Curve(BLUR, "sigma", (1, 2), (0.3, 0.7), (0.6, 0.4), 3),
            Curve("cartoon", "c", (9, 5), (0.1, -0.4), (1, 1), 3),
        ]
        line = texture_figure.headline(curves)
        assert line == (
            "With 50 % of texture energy removed, diffusion (strong) keeps 81 % of edge strength, Gaussian blur 50 %"
        )
        figure = texture_figure.suppression_figure(curves, line)
        (axes,) = figure.axes
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        assert labels == [
            "diffusion, strong: 81 %\nniter 1 to 2, kappa 20", "diffusion, weak: 75 %\nniter 1 to 2, kappa 20",
            "Gaussian blur: 50 %\nsigma 1 to 2", "cartoon: not covered\nc 9 to 5",
        ]  # fmt: skip
        np.testing.assert_allclose(axes.lines[0].get_xydata(), [[20, 96], [60, 76]])
        np.testing.assert_allclose(axes.lines[3].get_xydata(), [[10, 100]])
        widths = [line.get_linewidth() for line in axes.lines[:4]]
        assert widths[0] == widths[2] > widths[1] == widths[3]
        assert "+31.0" in [text.get_text() for text in axes.texts]
        assert "strengths that add energy are left out" in figure.get_supxlabel()
        figures.save(figure, tmp_path / "curves.png")
        assert (tmp_path / "curves.png").stat().st_size > 5000
        with pytest.raises(ValueError, match="at least one curve, got none"):
            texture_figure.suppression_figure([])

    def test_the_picture_claims_nothing_where_blur_wins_or_is_not_there(self):
        pytest.importorskip("matplotlib", reason="needs matplotlib")
        from texfilters.evaluate import texture_figure

        worse = Curve("diffusion", "niter", (1, 2), (0.2, 0.6), (0.5, 0.3), 1)
        blur = Curve(BLUR, "sigma", (1, 2), (0.3, 0.7), (0.6, 0.4), 1)
        assert "diffusion keeps 35 %" in texture_figure.headline([worse, blur])
        assert texture_figure.headline([worse]) == texture_figure.headline([blur]) == ""
        assert texture_figure.headline([worse, blur], 0.25) == ""
        for curves in ([worse, blur], [worse], [blur]):
            (axes,) = texture_figure.suppression_figure(curves).axes
            assert [text.get_text() for text in axes.texts] == ["better"]

    def test_examples_at_like_amounts(self):
        pytest.importorskip("matplotlib", reason="needs matplotlib")
        from texfilters.evaluate import texture_figure

        image, boundary = drawn()
        names = ["Gaussian blur", "median"]
        figure = texture_figure.suppression_examples(image, boundary, names=names, at=0.9, crop=(8, 4, 40, 20))
        for axes, name in zip(figure.axes[2:], names, strict=False):
            each = FILTERS[name]
            filtered = [each.filter(image[None], value) for value in each.values]
            found = [suppression(image[None], one, boundary[None]) for one in filtered]
            best = min(range(len(found)), key=lambda i: abs(found[i].removed.item() - 0.9))
            label = axes.get_title()
            assert label.startswith(f"{name}, {each.parameter} {each.values[best]:g}\n"), label
            assert f"{100 * found[best].kept.item():.0f} % kept" in label
            shown = np.array(axes.get_images()[0].get_array())
            np.testing.assert_array_equal(shown, filtered[best][0, :, 4:20, 8:40].movedim(0, -1))
        with pytest.raises(ValueError, match=r"names must be one of 'diffusion, exponential', .* got 'blur'"):
            texture_figure.suppression_examples(image, boundary, names=["blur"])


class TestPairs:
    @pytest.fixture
    def folder(self, tmp_path):
        for i in range(5):
            image, boundary = drawn(32, 40, seed=i)
            Image.fromarray(image.movedim(0, -1).numpy()).save(tmp_path / f"{i}.jpg", quality=95)
            Image.fromarray(boundary.numpy()).save(tmp_path / f"{i}_boundary.png")
        return tmp_path

    def test_photos_with_their_boundaries(self, folder):
        pairs = list(boundary_pairs(folder))
        assert len(pairs) == 5
        for i, (photo, boundary) in enumerate(pairs):
            with Image.open(folder / f"{i}.jpg") as file:
                np.testing.assert_array_equal(photo.movedim(0, -1), np.array(file))
            assert torch.equal(boundary, drawn(32, 40, seed=i)[1])
        some = list(boundary_pairs(folder, 2))
        assert [torch.equal(a[0], pairs[i][0]) for a, i in zip(some, (0, 2), strict=True)] == [True, True]

    def test_bad_folders(self, folder, tmp_path_factory):
        with pytest.raises(FileNotFoundError, match="folder must hold photos"):
            next(boundary_pairs(tmp_path_factory.mktemp("empty")))
        with pytest.raises(ValueError, match=r"count must lie in \[1, 5\], got 6"):
            next(boundary_pairs(folder, 6))
        Image.new("L", (9, 9)).save(folder / "0_boundary.png")
        with pytest.raises(ValueError, match=r"boundary map of 0.jpg must have its size \(32, 40\), got \(9, 9\)"):
            next(boundary_pairs(folder))
        (folder / "0_boundary.png").unlink()
        with pytest.raises(FileNotFoundError, match=r"0_boundary\.png"):
            next(boundary_pairs(folder))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu():
    pairs = [drawn(seed=seed) for seed in range(3)]
    some = {name: FILTERS[name] for name in ("diffusion, robust kappa", "Gaussian blur", "median")}
    expected = suppression_curves(pairs, some, batch_size=2)
    for got, one in zip(suppression_curves(pairs, some, batch_size=2, device="cuda"), expected, strict=True):
        # uint8 results differ by a grey level where rounding is close.
        np.testing.assert_allclose(got.removed, one.removed, atol=2e-3)
        np.testing.assert_allclose(got.kept, one.kept, atol=2e-3)
    images = torch.stack([image for image, _ in pairs])
    torch.testing.assert_close(robust_kappa(images.cuda()).cpu(), robust_kappa(images), rtol=1e-5, atol=0)
    assert texture.gradient_norm(images.cuda()).device.type == "cuda"
