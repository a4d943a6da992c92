"""WebDataset shards through the folder job: hostile members, damaged samples, and kill -9 within a shard."""

import io
import random
import tarfile
import time

import numpy as np
import pytest
import torch
from PIL import Image

import texfilters
from job_helpers import (
    Job,
    assert_does_nothing,
    contents,
    record_lines,
    records,
    sha256,
    touched,
    wait_until,
)

SAMPLES = 20


def member(name: str, data: bytes = b"", **header) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode, info.uid = len(data), 1_500_000_000, 0o640, 1234
    for field, value in header.items():
        setattr(info, field, value)
    return info, data


def write_tar(path, members) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))


def png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def samples(astronaut, count: int = SAMPLES, seed: int = 0) -> list[tuple[tarfile.TarInfo, bytes]]:
    """As WebDataset has them: an image, a class and a caption under one key each."""
    rng, members = random.Random(seed), []
    for i in range(count):
        left, top = rng.randint(0, 400), rng.randint(0, 400)
        image = astronaut.crop((left, top, left + 64, top + 48))
        members.append(member(f"part/{i:06}.png", png(image)))
        members.append(member(f"part/{i:06}.cls", str(i % 10).encode()))
        members.append(member(f"part/{i:06}.json", b'{"caption": "a person"}'))
    return members


def members_of(path) -> list[tuple[tarfile.TarInfo, bytes]]:
    with tarfile.open(path) as tar:
        return [(info, tar.extractfile(info).read()) for info in tar]


def diffused(data: bytes, **parameters) -> np.ndarray:
    planes = torch.from_numpy(np.array(Image.open(io.BytesIO(data)))).movedim(-1, 0)
    values = {"niter": 20, "kappa": 20.0, "gamma": 0.1, **parameters}
    return texfilters.anisotropic_diffusion(planes, **values).movedim(0, -1).numpy()


def test_shards_are_mirrored(tmp_path, call, astronaut):
    source, target = tmp_path / "source", tmp_path / "target"
    for number in range(3):
        write_tar(source / "train" / f"{number:05}.tar", samples(astronaut, seed=number))
    (source / "photo.png").write_bytes(png(astronaut.crop((0, 0, 30, 30))))
    for flags, folder in (((), target), (("--workers", "1"), tmp_path / "one"), (("--workers", "8"), tmp_path / "8")):
        outcome = call("suppress", source, folder, *flags)
        assert (outcome.code, outcome.err) == (0, "")
    assert contents(target) == contents(tmp_path / "one") == contents(tmp_path / "8")
    assert record_lines(target) == record_lines(tmp_path / "one") == record_lines(tmp_path / "8")
    assert contents(target).keys() == {"photo.png", *(f"train/{number:05}.tar" for number in range(3))}
    assert records(target)["train/00001.tar"]["images"] == SAMPLES
    for number in range(3):
        before = members_of(source / "train" / f"{number:05}.tar")
        after = members_of(target / "train" / f"{number:05}.tar")
        assert [info.name for info, _ in after] == [info.name for info, _ in before]
        for (old, data), (new, result) in zip(before, after, strict=True):
            assert (new.mtime, new.mode, new.uid) == (old.mtime, old.mode, old.uid)
            if new.name.endswith(".png"):
                assert np.array_equal(np.asarray(Image.open(io.BytesIO(result))), diffused(data))
            else:
                assert result == data
    assert_does_nothing(call, source, target)


def test_a_shard_by_itself(tmp_path, call, astronaut):
    write_tar(tmp_path / "a.tar", samples(astronaut))
    assert call("suppress", tmp_path / "a.tar", tmp_path / "b.tar").code == 0
    (tmp_path / "folder").mkdir()
    assert call("suppress", tmp_path / "a.tar", tmp_path / "folder").code == 0
    assert sha256(tmp_path / "folder" / "a.tar") == sha256(tmp_path / "b.tar")
    assert len(members_of(tmp_path / "b.tar")) == 3 * SAMPLES


@pytest.mark.parametrize(
    "hostile",
    [
        member("../evil.png", b"x"),
        member("part/../../evil.png", b"x"),
        member("/tmp/evil.png", b"x"),
        member("part/..", b"x"),
        member("../evil.txt", b"x"),
        member("part/link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
        member("part/hard.png", type=tarfile.LNKTYPE, linkname="part/000000.png"),
        member("part/device", type=tarfile.CHRTYPE),
        member("part/pipe.png", type=tarfile.FIFOTYPE),
    ],
    ids=lambda hostile: f"{hostile[0].name} {hostile[0].type.decode()}".strip(),
)
def test_hostile_members(tmp_path, call, astronaut, hostile):
    source, target = tmp_path / "inner" / "source", tmp_path / "inner" / "target"
    members = samples(astronaut, 3)
    write_tar(source / "bad.tar", [*members[:4], hostile, *members[4:]])
    write_tar(source / "good.tar", members)
    before = touched(tmp_path)
    outcome = call("suppress", source, target)
    assert outcome.code == 1
    assert outcome.err.startswith(f"{source}/bad.tar: ")
    assert outcome.err.count("\n") == 1
    assert hostile[0].name in outcome.err
    assert contents(target).keys() == {"good.tar"}
    assert records(target)["bad.tar"]["status"] == "failed"
    now = touched(tmp_path)
    assert {name: one for name, one in now.items() if not name.startswith("inner/target/")} == before


def test_a_bad_image_leaves_its_sample_out(tmp_path, call, astronaut):
    source, target = tmp_path / "source", tmp_path / "target"
    members = samples(astronaut)
    members[15] = member("part/000005.png", members[15][1][:300])  # its .cls and .json go with it
    write_tar(source / "a.tar", members)
    outcome = call("suppress", source, target)
    names = [info.name for info, _ in members_of(target / "a.tar")]
    assert len(names) == 3 * (SAMPLES - 1)
    assert not any("000005" in name for name in names)
    record = records(target)["a.tar"]
    assert (record["status"], record["images"]) == ("done", SAMPLES - 1)
    assert list(record["left_out"]) == ["part/000005.png"]
    assert "part/000005.png" in outcome.err
    assert outcome.code == 1


@pytest.mark.parametrize("cut", [1, 512 * 7 + 100, 20_000])
def test_a_shard_that_is_cut_off(tmp_path, call, astronaut, cut):
    source, target = tmp_path / "source", tmp_path / "target"
    write_tar(source / "a.tar", samples(astronaut))
    data = (source / "a.tar").read_bytes()
    (source / "a.tar").write_bytes(data[:cut])
    outcome = call("suppress", source, target)
    assert outcome.code == 1
    assert outcome.err.startswith(f"{source}/a.tar: ")
    assert not contents(target)


def test_kill_9_within_a_shard(tmp_path, call, astronaut):
    source, flags = tmp_path / "source", ("--niter", "2000", "--workers", "2")
    for number in range(3):
        write_tar(source / f"{number}.tar", samples(astronaut, seed=number))
    assert call("suppress", source, tmp_path / "undisturbed", *flags).code == 0
    target = tmp_path / "target"
    with Job(source, target, *flags) as job:
        assert wait_until(lambda: any(target.glob(".texfilters-*.tmp")), job)
        time.sleep(random.uniform(0.01, 0.06))
        job.kill()
    assert not records(target)  # killed within the first shards, whose temporaries are still there
    assert any(target.glob(".texfilters-*.tmp"))
    assert call("suppress", source, target, *flags).code == 0
    assert contents(target) == contents(tmp_path / "undisturbed")
    assert record_lines(target) == record_lines(tmp_path / "undisturbed")
    assert_does_nothing(call, source, target, *flags)


def test_compressed_shards(tmp_path, call, astronaut):
    source = tmp_path / "source"
    write_tar(source / "a.tar", samples(astronaut, 2))
    (source / "b.tar.gz").write_bytes(b"\x1f\x8b")
    outcome = call("suppress", source / "b.tar.gz", tmp_path / "b.tar")
    assert outcome.code == 2
    assert ".tar.gz" in outcome.err
    assert call("suppress", source, tmp_path / "target").code == 0
    assert contents(tmp_path / "target").keys() == {"a.tar"}
