"""The section of saliency: its numbers are those of the measurement, its boxes where the network sees them."""

import math
from itertools import pairwise
from statistics import mean, stdev

import pytest
import torch
from torch import nn

pytest.importorskip("matplotlib", reason="needs matplotlib")

from cuda_cases import DEVICE, MARKS
from section_cases import CLASSES, CPU, complete, halved, model, photos, rows
from texfilters import evaluate
from texfilters.evaluate.sections import LabeledImages, _saliency, saliency


class TestSaliency:
    def test_grad_cam_of_the_answers(self, tmp_path):
        images, _, given = photos()
        models = {"plain": model(0), "diffused": model(1)}
        section = saliency(models, given, neurons=3, shown=3)
        for name, each in models.items():
            maps = evaluate.grad_cam(each.logits, halved(images), each.layer)
            expected = evaluate.spread(maps)
            (row,) = [row for row in rows(section) if (row["network"], row["map"]) == (name, "Grad-CAM")]
            assert row["area, %"] == pytest.approx(100 * expected.mean_area)
            assert row["entropy, nats"] == pytest.approx(expected.mean_entropy)
            assert row["maps of zeros"] == expected.empty
            assert "goodness, %" not in row  # there are no boxes
            assert 0 < expected.empty < 11
            found = section.record["models"][name]["Grad-CAM"]
            assert found["area"]["by_image"] == pytest.approx(expected.area.tolist(), nan_ok=True)
            assert "goodness" not in found
        assert "11 images" in section.text
        assert "Goodness" not in section.text
        complete(section, tmp_path)

    def test_grad_cam_of_the_labels(self):
        images, labels, given = photos()
        one = model(0)
        assert not bool((one.logits(halved(images)).argmax(1) == labels).all())
        section = saliency({"a": one}, given, explained="label", neurons=1, shown=1)
        expected = evaluate.spread(evaluate.grad_cam(one.logits, halved(images), one.layer, classes=labels))
        assert rows(section)[0]["area, %"] == pytest.approx(100 * expected.mean_area)
        assert rows(section)[0]["area, %"] != pytest.approx(
            rows(saliency({"a": one}, given, neurons=1, shown=1))[0]["area, %"]
        )

    def test_gradients_of_the_strongest_neurons(self):
        images, _, given = photos()
        one = model(0)
        section = saliency({"a": one}, given, neurons=3)
        views = halved(images)
        with torch.no_grad():
            strongest = one.features(views).topk(3).indices
        maps = evaluate.gradient_saliency(one.features, views, strongest)
        cut = maps.minimum(maps.flatten(1).sort().values[:, math.ceil(0.99 * 64) - 1][:, None, None])
        expected = evaluate.spread(evaluate.saliency.normalized(cut))
        (row,) = [row for row in rows(section) if row["map"] == "gradient of neurons"]
        assert row["area, %"] == pytest.approx(100 * expected.mean_area)
        assert row["entropy, nats"] == pytest.approx(expected.mean_entropy)

    def test_without_a_classifier_there_are_gradients_alone(self, tmp_path):
        _, _, given = photos()
        section = saliency({"a": model(0, classes=()), "b": model(1)}, given, neurons=2, shown=2)
        assert [(row["network"], row["map"]) for row in rows(section)] == [
            ("b", "Grad-CAM"),
            ("a", "gradient of neurons"),
            ("b", "gradient of neurons"),
        ]
        assert {row["map"] for row in rows(section, 1)} == {"gradient of neurons"}
        complete(section, tmp_path)

    def test_differences_are_of_the_same_images(self):
        _, _, given = photos()
        section = saliency({"a": model(0), "b": model(1)}, given, neurons=2, shown=2)
        a, b = (section.record["models"][name]["Grad-CAM"]["area"]["by_image"] for name in "ab")
        change = [100 * (y - x) for x, y in zip(a, b, strict=True) if not math.isnan(y - x)]
        first = rows(section, 1)[0]
        assert (first["networks"], first["measure"], first["images"]) == ("b − a", "area", len(change))
        assert first["mean difference"] == pytest.approx(mean(change))
        assert first["standard error"] == pytest.approx(stdev(change) / len(change) ** 0.5)
        assert {row["measure"] for row in rows(section, 1)} == {"area", "entropy"}

    def test_boxes_are_where_the_network_sees_them(self, tmp_path):
        images, _, given = photos(3)
        # The view begins at pixel 4 and has half the size: one inside, one reaching out of it, one outside.
        boxes = [
            torch.tensor([[6.0, 8, 12, 16]]),
            torch.tensor([[0.0, 0, 8, 24], [10, 10, 14, 12]]),
            torch.tensor([[0.0, 0, 3, 24]]),
        ]
        one = model(2)
        section = saliency({"a": one}, given, boxes=boxes, neurons=2)
        masks = torch.zeros(3, 8, 8, dtype=torch.bool)
        masks[0, 2:6, 1:4] = True
        masks[1, :, :2] = True
        masks[1, 3:4, 3:5] = True
        maps = evaluate.grad_cam(one.logits, halved(images), one.layer)
        expected = evaluate.goodness(maps[:2], masks[:2])
        found = section.record["models"]["a"]["Grad-CAM"]["goodness"]
        assert found["by_image"][:2] == pytest.approx(expected.by_image.tolist())
        assert math.isnan(found["by_image"][2])
        assert rows(section)[0]["goodness, %"] == pytest.approx(100 * expected.mean)
        seen = _saliency._Seen(one, (images, None))
        assert [seen.corners(i, box).tolist() for i, box in enumerate(boxes)] == [
            [[1, 2, 4, 6]],
            [[0, 0, 2, 8], [3, 3, 5, 4]],
            [],
        ]
        assert "Goodness" in section.text
        complete(section, tmp_path)
        blind = model(0)  # to the second image, whose map is of zeros: that is no goodness of 0
        assert not evaluate.grad_cam(blind.logits, halved(images), blind.layer)[1].any()
        found = saliency({"a": blind}, given, boxes=boxes, neurons=1, shown=1).record["models"]["a"]["Grad-CAM"]
        assert [math.isnan(value) for value in found["goodness"]["by_image"]] == [False, True, True]

    def test_pixels_are_what_the_network_sees(self):
        images, _, _ = photos(2)
        expected = nn.functional.avg_pool2d(images[:, :, 4:-4, 4:-4].float() / 255, 2)
        torch.testing.assert_close(_saliency._Seen(model(0), (images, None)).pixels, expected)

    def test_what_is_padded_is_black(self):
        images, _, _ = photos(2)

        def padded(images, *_):
            return nn.functional.pad(halved(images), (1, 1, 0, 0), value=0.3)

        pixels = _saliency._Seen(model(0, prepare=padded), (images, None)).pixels
        torch.testing.assert_close(pixels[..., 1:-1], _saliency._Seen(model(0), (images, None)).pixels)
        assert not pixels[..., 0].any()
        assert not pixels[..., -1].any()

    def test_sizes_of_squashed_images_reach_the_view(self):
        images, labels, _ = photos(2)
        sizes = torch.tensor([[30, 40], [50, 60]])
        told = []

        def prepare(images, sizes):
            told.append(sizes.tolist())
            return halved(images)

        given = LabeledImages([(images, labels, sizes)], CLASSES)
        boxes = [torch.tensor([[6.0, 8, 12, 16], [8, 8, 12, 12]])] * 2
        saliency({"a": model(0, prepare=prepare)}, given, boxes=boxes, neurons=1, shown=1)
        assert sizes.tolist() in told
        assert [sizes[1].tolist()] * 2 in told  # of both boxes of the second image

    @pytest.mark.parametrize("count", [1, 3, 8, 9, 37])
    def test_the_sheet_is_spread_evenly_over_all_images(self, count):
        _, _, given = photos(count, batch=5)
        section = saliency({"a": model(0, classes=())}, given, neurons=1, shown=4)
        shown = section.record["shown"]
        assert len(shown) == min(count, 4)
        assert shown[0] == 0
        steps = [b - a for a, b in pairwise(shown)]
        assert all(step <= 2 * min(steps) for step in steps)
        assert shown[-1] >= count * 0.6 - 1
        (sheet,) = section.figures.values()
        drawn = [axes for axes in sheet.axes if axes.images]
        assert len(drawn) == 2 * len(shown)
        assert [axes.get_title() for axes in drawn[::2]] == [CLASSES[i % 3] for i in shown]

    def test_bad_input(self):
        _, _, given = photos(3)
        with pytest.raises(ValueError, match="models must hold at least one model"):
            saliency({}, given)
        with pytest.raises(ValueError, match="images must hold at least one image"):
            saliency({"a": model(0)}, LabeledImages([], CLASSES))
        with pytest.raises(ValueError, match=r"explained must be .*'answer'.* got 'class'"):
            saliency({"a": model(0)}, given, explained="class")
        with pytest.raises(ValueError, match="models must have a classifier, but 'a' has none"):
            saliency({"a": model(0, classes=())}, given, explained="label")
        for wrong in (2, 4):
            with pytest.raises(ValueError, match=f"boxes must be one an image.* {wrong}"):
                saliency({"a": model(0)}, given, boxes=[torch.tensor([[6.0, 8, 12, 16]])] * wrong)
        alone = model(0, prepare=lambda images, *_: images.float() - images.float().mean((2, 3), keepdim=True))
        with pytest.raises(ValueError, match="prepare must scale all images alike"):
            saliency({"a": alone}, given, neurons=1)
        other = model(0, prepare=lambda images, *_: images.float() / 255)
        with pytest.raises(ValueError, match=r"one size .* \{'a': \(8, 8\), 'b': \(24, 24\)\}"):
            saliency({"a": model(0), "b": other}, given, neurons=1, shown=1)


class TestOnAGPU:
    """As on the CPU; images come from there."""

    pytestmark = MARKS

    def test_saliency(self):
        _, _, given = photos()
        boxes = [torch.tensor([[6.0, 8, 12, 16]])] * 11
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = [
                saliency({"a": model(2, device=device)}, given, boxes=boxes, neurons=3, shown=2)
                for device in (CPU, torch.device(DEVICE))
            ]
        expected, got = (section.record["models"]["a"] for section in found)
        for kind in expected:
            for measure, within in {"area": 0.02, "entropy": 1e-3, "goodness": 1e-3}.items():
                values = [each[kind][measure]["by_image"] for each in (expected, got)]
                assert values[1] == pytest.approx(values[0], abs=within, nan_ok=True), (kind, measure)
