"""Which files of a folder are read, in which order, and by whom."""

import os
import tracemalloc

import pytest

from texfilters.cli.listing import Shard, Tree, target_name
from texfilters.cli.messages import Refused


def grow(root, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def listed(root, target="/nowhere/target", **options) -> Tree:
    tree = Tree(str(root), str(target), **options)
    tree.count()
    return tree


def test_a_tree_in_an_order_of_names_alone(tmp_path, monkeypatch):
    names = ["b.png", "é.JPG", "a/2.png", "a/10.webp", "a/c/x.tif", "a b/x.png", "c/1.tar", os.fsdecode(b"\xff.ppm")]
    grow(tmp_path, *names, "notes.txt", "a/x.gif", "c/2.tar.gz", "c/.tar", "empty/x.json")
    expected = [
        *("b.png", "é.JPG", os.fsdecode(b"\xff.ppm"), "a/10.webp", "a/2.png", "a/c/x.tif", "a b/x.png", "c/1.tar"),
    ]
    scandir = os.scandir

    class Backwards:
        def __init__(self, path):
            with scandir(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return self.entries

        def __exit__(self, *_):
            pass

    for listing in (scandir, Backwards):
        monkeypatch.setattr(os, "scandir", listing)
        tree = listed(tmp_path)
        assert list(tree.names()) == expected
        assert (tree.images, tree.tars, tree.left_out, tree.failures) == (7, 1, 5, {})


@pytest.mark.parametrize("count", [1, 2, 5])
def test_shards_divide_a_tree(tmp_path, count):
    names = {f"{folder}/{i}.png" for folder in "ab" for i in range(100)}
    grow(tmp_path, *names)
    seen = []
    for index in range(1, count + 1):
        tree = listed(tmp_path, shard=Shard(index, count))
        part = list(tree.names())
        assert tree.images == len(part) > 100 / count
        seen += part
    assert len(seen) == len(names)
    assert set(seen) == names


def test_a_file_belongs_to_one_shard_for_ever():
    """From the SHA-256 of the name, first 8 bytes as a number, modulo n; plus one."""
    assert [name for name in "abcdefgh" if Shard(2, 3).holds(name)] == ["a", "b"]
    assert Shard(1, 3).holds(os.fsdecode(b"\xff"))


def test_links_to_folders_are_followed_but_in_no_circle(tmp_path):
    grow(tmp_path, "source/a/x.png", "data/y.png")
    source = tmp_path / "source"
    (source / "a" / "up").symlink_to(source)
    (source / "itself").symlink_to("itself")
    (source / "linked").symlink_to(tmp_path / "data")
    (source / "twice").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "back").symlink_to(source)
    tree = listed(source)
    assert list(tree.names()) == ["a/x.png", "linked/y.png", "twice/y.png"]
    assert tree.left_out == 1  # the link that leads nowhere


def test_a_destination_inside_the_source_is_not_read(tmp_path):
    grow(tmp_path, "a.png", "out/b.png", "output/c.png")
    (tmp_path / "linked").symlink_to("out")
    assert list(listed(tmp_path, tmp_path / "out").names()) == ["a.png", "output/c.png"]
    assert list(listed(tmp_path / "output", tmp_path).names()) == ["c.png"]


def test_two_sources_with_one_target_are_refused(tmp_path):
    assert target_name("a.b/c.JPG", ".png") == "a.b/c.png"
    assert target_name("a.b/c.tar", ".png") == "a.b/c.tar"
    grow(tmp_path, "d/a.jpg", "d/a.png", "e/a.png", "d/a.tar")
    listed(tmp_path)
    root = str(tmp_path)
    with pytest.raises(Refused) as refused:
        listed(tmp_path, suffix=".webp")
    assert str(refused.value) == f"{root}/d/a.jpg and {root}/d/a.png have one target: d/a.webp"
    with pytest.raises(Refused):  # though one of them is to keep its name
        listed(tmp_path, suffix=".png")
    (tmp_path / "d" / "a.jpg").unlink()
    assert listed(tmp_path, suffix=".webp").paths("d/a.png") == (f"{root}/d/a.png", "/nowhere/target/d/a.webp")
    grow(tmp_path, "d/a.bmp/x.png")
    with pytest.raises(Refused, match=r"d/a\.bmp and .*d/a\.png have one target: d/a\.bmp"):
        listed(tmp_path, suffix=".bmp")


def test_what_would_be_written_among_the_sources(tmp_path):
    grow(tmp_path, "source/a/x.png", "data/y.png")
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "linked.png").symlink_to(tmp_path / "data" / "y.png")
    target.mkdir()
    (target / "a").symlink_to(source / "a")
    (target / "b").symlink_to(tmp_path / "data")
    tree = listed(source, target)
    picture = str(source / "a" / "x.png")
    assert tree.refusal(picture, str(target / "a" / "x.png")) == "the output would overwrite its input"
    for folder in "ab":
        among = "the output would go into a folder that images are read from"
        assert tree.refusal(picture, str(target / folder / "new.png")) == among
    assert tree.refusal(picture, str(target / "c" / "x.png")) is None
    assert tree.refusal(picture, str(target / "x.png")) is None


def test_no_images(tmp_path):
    grow(tmp_path, "notes.txt", "a.tar.gz")
    with pytest.raises(Refused, match=r"^no images in "):
        listed(tmp_path)
    grow(tmp_path, "a.tar")
    assert listed(tmp_path).tars == 1


def test_memory_is_that_of_the_largest_folder(tmp_path):
    grow(tmp_path, *(f"class {folder:02}/{'long' * 10} {i}.png" for folder in range(40) for i in range(250)))
    tree = Tree(str(tmp_path), "/nowhere/target")
    tracemalloc.start()
    try:
        tree.count()
        assert sum(1 for _ in tree.names()) == tree.images == 10_000
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 300_000  # bytes; 10,000 of these names take more than a million
