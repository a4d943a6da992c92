"""Files of one mode and size are filtered in one call."""

import numpy as np
import pytest
import torch
from PIL import Image

from cli_helpers import files_in, pixels
from cuda_cases import MARKS
from texfilters.cli import filters, stages
from texfilters.cli.work import Settings, Stop
from work_cases import diffused


class TestTogether:
    """As on a GPU: several images are decoded, then filtered in one call for each mode and size."""

    @pytest.fixture(autouse=True)
    def calls(self, monkeypatch) -> list[tuple]:
        calls, apply_to_all = [], filters.apply_to_all

        def counted(function, images, device):
            calls.append((images[0].mode, images[0].size, len(images)))
            return apply_to_all(function, images, device)

        monkeypatch.setattr(filters, "apply_to_all", counted)
        monkeypatch.setattr(stages, "images_together", lambda settings: 8)
        return calls

    @pytest.fixture
    def names(self, job, small) -> list[str]:
        """Twelve images of two sizes and two modes, and two files that are none."""
        names = [f"{i:02}.png" for i in range(14)]
        for i, name in enumerate(names):
            image = small.rotate(i)
            image = image.crop((0, 0, 30, 20)) if i % 3 == 0 else image
            (image.convert("L") if i % 4 == 0 else image).save(job.source / name)
        (job.source / "05.png").write_bytes(b"no image")
        (job.source / "08.png").unlink()
        return names

    def test_one_call_for_each_mode_and_size(self, job, names, calls):
        records = job.do(*names)
        assert [record["source"] for record in records] == names
        assert [r["source"] for r in records if r["status"] == "failed"] == ["05.png", "08.png"]
        for name in set(names) - {"05.png", "08.png"}:
            assert np.array_equal(pixels(job.target / name), diffused(Image.open(job.source / name)))
        # Of the first eight, 0 to 7, and the rest.
        first = [("L", (30, 20), 1), ("RGB", (77, 53), 3), ("RGB", (30, 20), 2), ("L", (77, 53), 1)]
        rest = [("RGB", (30, 20), 1), ("RGB", (77, 53), 3), ("L", (30, 20), 1)]
        assert calls == first + rest

    def test_the_files_are_those_of_one_at_a_time(self, job, names, monkeypatch):
        together = job.do(*names)
        for name in files_in(job.target):
            (job.target / name).unlink()
        monkeypatch.setattr(stages, "images_together", lambda settings: 1)
        assert job.do(*names) == together

    def test_large_images_do_not_pile_up(self, job, names, calls, monkeypatch):
        monkeypatch.setattr(stages, "_MOST_PIXELS", 5000)
        job.do(*names)
        assert max(width * height * count for _, (width, height), count in calls) == 2 * 77 * 53  # the first above 5000

    def test_where_memory_does_not_do_for_all_it_may_do_for_each(self, job, names, calls, monkeypatch):
        apply_to_all, too_much = filters.apply_to_all, pixels(job.source / "02.png")

        def short(function, images, device):
            result = apply_to_all(function, images, device)
            if len(images) > 1 or np.array_equal(np.asarray(images[0]), too_much):
                raise torch.OutOfMemoryError("out of memory")
            return result

        monkeypatch.setattr(filters, "apply_to_all", short)
        records = job.do("01.png", "02.png", "07.png")
        assert [record.get("reason") for record in records] == [None, "out of memory", None]
        assert [count for *_, count in calls] == [3, 1, 1, 1]

    def test_a_gpu_that_has_failed_stops_the_job(self, job, names, monkeypatch):
        def broken(*arguments):
            raise torch.AcceleratorError("an illegal memory access\nwas encountered")

        monkeypatch.setattr(filters, "apply_to_all", broken)
        with pytest.raises(Stop, match=r"^an illegal memory access\nwas encountered|^an illegal memory access was"):
            job.do(*names)


class TestOnAGpu:
    pytestmark = MARKS

    def test_files_are_filtered_together(self, job, small, monkeypatch):
        names = [f"{i}.png" for i in range(40)]
        for i, name in enumerate(names):
            (small.rotate(i) if i % 2 else small.rotate(i).crop((0, 0, 40, 30))).save(job.source / name)
        calls, apply_to_all = [], filters.apply_to_all
        monkeypatch.setattr(filters, "apply_to_all", lambda *a: (calls.append(len(a[1])), apply_to_all(*a))[1])
        records = job.do(*names, settings=Settings("anisotropic-diffusion", {"niter": 5}, device="cuda"))
        assert all(record["status"] == "done" for record in records)
        assert calls == [16, 16, 4, 4]
        for name in names:
            apart = pixels(job.target / name).astype(int) - diffused(Image.open(job.source / name))
            assert np.abs(apart).max() <= 1
