"""WebDataset shards that are harmful or damaged: they are refused as a whole."""

import io
import os
import tarfile

import pytest

from tar_cases import member, png, write
from texfilters.cli import stages


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("/etc/a.png", tarfile.REGTYPE, "member /etc/a.png has an absolute name"),
        ("x/../../a.png", tarfile.REGTYPE, "member x/../../a.png leads out of the folder it would be unpacked in"),
        ("..", tarfile.DIRTYPE, "member .. leads out of the folder it would be unpacked in"),
        ("new\nline/../a", tarfile.REGTYPE, r"member 'new\nline/../a' leads out of the folder it would be unpacked in"),
        ("a.png", tarfile.SYMTYPE, "member a.png is a symbolic link; shards hold files and folders"),
        ("a.png", tarfile.LNKTYPE, "member a.png is a hard link; shards hold files and folders"),
        ("null", tarfile.CHRTYPE, "member null is a device; shards hold files and folders"),
        ("disk", tarfile.BLKTYPE, "member disk is a device; shards hold files and folders"),
        ("pipe", tarfile.FIFOTYPE, "member pipe is a pipe; shards hold files and folders"),
        ("a.png", tarfile.GNUTYPE_SPARSE, "member a.png is a sparse file; shards hold files and folders"),
        ("disk", b"V", "member disk is of the type b'V'; shards hold files and folders"),
    ],
)
@pytest.mark.parametrize("threads", [1, 2])
def test_harmful_members_refuse_the_shard(shard, small, name, kind, reason, threads):
    with tarfile.open(shard.source, "w", format=tarfile.GNU_FORMAT) as tar:
        content = png(small)
        tar.addfile(member("good.png", len(content)), io.BytesIO(content))
        tar.addfile(member(name, type=kind, linkname="good.png"))
    assert shard.reason(threads=threads) == reason


class TestDamage:
    def test_truncated_anywhere(self, shard, small):
        write(shard.source, [(f"{i}.png", png(small.crop((0, 0, 9, 9)))) for i in range(3)])
        whole = shard.source.read_bytes()
        end = max(i for i, byte in enumerate(whole) if byte) + 1
        end += -end % tarfile.BLOCKSIZE  # a single block of zeros is enough of an end
        for size in [*range(0, end + tarfile.BLOCKSIZE, 128), end + 511]:
            shard.source.write_bytes(whole[:size])
            reason = shard.reason()
            assert "\n" not in reason
            assert "truncated" in reason or "not a tar file, or a damaged one" in reason, size
        shard.source.write_bytes(whole[: end + tarfile.BLOCKSIZE])
        assert shard.do()["images"] == 3

    @pytest.mark.parametrize("offset", [0, 100, 130, 150])  # of the name, mode, size and checksum
    def test_a_damaged_header_is_not_taken_for_the_end(self, shard, small, offset):
        content = png(small.crop((0, 0, 9, 9)))
        write(shard.source, [("0.png", content), ("1.png", content), ("2.png", content)])
        whole = bytearray(shard.source.read_bytes())
        second = whole.index(b"1.png")
        whole[second + offset] ^= 1
        shard.source.write_bytes(whole)
        assert shard.reason() == f"damaged: neither a member nor the end of the archive at byte {second}"

    def test_what_follows_the_end_is_not_lost_silently(self, shard, small):
        write(shard.source, [("0.png", png(small))])
        whole = shard.source.read_bytes()
        shard.source.write_bytes(whole + whole)  # as cat makes it
        assert shard.reason().startswith("damaged: neither a member nor the end of the archive at byte ")
        shard.source.write_bytes(whole + bytes(1_000_000))
        assert shard.do()["images"] == 1

    @pytest.mark.parametrize("content", [b"", b"a text", b"\x1f\x8b compressed" * 100])
    def test_no_tar_at_all(self, shard, content):
        shard.source.write_bytes(content)
        assert shard.reason().startswith("not a tar file, or a damaged one: ")

    def test_a_shard_that_changes_while_it_is_read(self, shard, samples, monkeypatch):
        write(shard.source, samples)
        before = os.stat(shard.source)
        changed = stages.change

        def slow(contents, settings):
            os.utime(shard.source, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
            return changed(contents, settings)

        monkeypatch.setattr(stages, "change", slow)
        assert shard.reason() == "it changed while it was read"

    @pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
    @pytest.mark.parametrize("size", [-4096, 1 << 62, (1 << 88) - 1])
    def test_sizes_that_lie(self, shard, kind, size):
        """In the base-256 notation; a negative one once sent tarfile back to where it came from, for ever."""
        header = bytearray(member("a.cls", type=kind).tobuf(tarfile.GNU_FORMAT))
        header[124:136] = (size % (1 << 96) | (0 if size < 0 else 1 << 95)).to_bytes(12, "big")
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        shard.source.write_bytes(bytes(header) + bytes(tarfile.RECORDSIZE))
        assert shard.reason().startswith(("truncated within a.cls", "not a tar file, or a damaged one: "))
