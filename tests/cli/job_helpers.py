"""What the tests of the folder job look at: processes, manifests, and whether a file was touched."""

import contextlib
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from cli_helpers import Outcome, start
from texfilters import cli

Record = dict[str, Any]


class Touched(NamedTuple):
    """What changes when a file is written again, even with the same bytes."""

    inode: int
    modified: int
    size: int


class Job:
    """`texfilters suppress` in a process and a session of its own, by which its workers are found.

    It is forked from the tests, which spares the import of torch; with `fresh` it is started as a user does.
    """

    def __init__(self, *arguments: object, fresh: bool = False, before: str = "", environment=None) -> None:
        words = ["suppress", *map(str, arguments)]
        # Whoever runs the tests in the background may have silenced Ctrl-C for everything below.
        before = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{before}"
        self._streams = tempfile.TemporaryFile(), tempfile.TemporaryFile()  # noqa: SIM115
        self.returncode: int | None = None
        if fresh:
            out, err = self._streams
            options = {"stdout": out, "stderr": err, "start_new_session": True, "env": environment}
            self.pid = start(*words, before=before, **options).pid
        else:
            self.pid = os.fork()
            if self.pid == 0:
                self._run(words, before)

    def _run(self, words: list[str], before: str) -> None:
        """What becomes of the forked process; it never comes back."""
        status = 1
        try:
            os.setsid()
            for number, stream in enumerate(self._streams, 1):
                os.dup2(stream.fileno(), number)
            sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8") for number in (1, 2))  # noqa: SIM115
            sys.argv = ["texfilters", *words]
            exec(before)
            cli.main()
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)

    def poll(self, flags: int = os.WNOHANG) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, flags)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def finish(self, seconds: float = 100) -> Outcome:
        """Wait for its end."""
        end = time.monotonic() + seconds
        while self.poll() is None:
            assert time.monotonic() < end, "the job does not end"
            time.sleep(0.005)
        out, err = (os.pread(stream.fileno(), 1 << 24, 0).decode() for stream in self._streams)
        assert "Traceback" not in err, err
        return Outcome(self.returncode, out, err)

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def workers(self) -> set[int]:
        return processes(self.pid) - {self.pid}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing outlives a test; and workers end within a second of their parent, however that came."""
        self.kill()
        self.poll(0)
        for stream in self._streams:
            stream.close()
        assert_all_end(self.pid)


def processes(session: int) -> set[int]:
    """The processes of a session that are alive."""
    alive = set()
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
                if int(fields[3]) == session and fields[0] not in (b"Z", b"X"):
                    alive.add(int(entry))
    return alive


def wait_until(condition: Callable[[], Any], job: Job, seconds: float = 30) -> bool:
    """Whether a condition came true before the job ended."""
    end = time.monotonic() + seconds
    while not condition():
        if job.poll() is not None:
            return False
        assert time.monotonic() < end, "nothing has happened for too long"
        time.sleep(0.01)
    return True


def assert_all_end(session: int, seconds: float = 1) -> None:
    """Those of a session end within a second; what did not is ended here, so that no test leaves a process."""
    end = time.monotonic() + seconds
    while (left := processes(session)) and time.monotonic() < end:
        time.sleep(0.005)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left, f"still alive after {seconds} s: {left}"


def manifests(target: Path) -> list[Path]:
    return sorted(target.glob("texfilters-manifest*.jsonl"))


def lines(target: Path) -> int:
    """How many complete lines the manifests hold, their first ones included."""
    return sum(path.read_bytes().count(b"\n") for path in manifests(target))


def records(target: Path) -> dict[str, Record]:
    """By source name the last record of each file; every line must be whole."""
    found: dict[str, Record] = {}
    for path in manifests(target):
        text = path.read_text("ascii")
        assert text.endswith("\n"), f"{path.name} ends within a line"
        header, *rest = map(json.loads, text.splitlines())
        assert header["manifest"] == 1
        found.update((record["source"], record) for record in rest)
    return found


def record_lines(target: Path) -> list[str]:
    """The lines of all manifests without their first ones, in order: those of two jobs are equal or not."""
    return sorted(line for path in manifests(target) for line in path.read_text("ascii").splitlines()[1:])


def headers(target: Path) -> list[Record]:
    return [json.loads(path.read_text("ascii").splitlines()[0]) for path in manifests(target)]


def done(target: Path) -> set[str]:
    """The targets that are recorded as done, also while a line is being written."""
    names = set()
    for path in manifests(target):
        for line in path.read_bytes().split(b"\n")[1:-1]:
            record = json.loads(line)
            if record["status"] == "done":
                names.add(record["target"])
    return names


def outputs(target: Path) -> Iterator[Path]:
    """Every file below the target that is no manifest."""
    return (path for path in sorted(target.rglob("*")) if path.is_file() and path not in manifests(target))


def contents(target: Path) -> dict[str, str]:
    """Every output's name and a hash of its bytes; temporaries and locks, if any, would be among them."""
    return {str(path.relative_to(target)): sha256(path) for path in outputs(target)}


def touched(target: Path) -> dict[str, Touched]:
    """The identity and time of every file, manifests included."""
    found = {}
    for path in target.rglob("*"):
        status = path.lstat()
        if path.is_file():
            found[str(path.relative_to(target))] = Touched(status.st_ino, status.st_mtime_ns, status.st_size)
    return found


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assert_does_nothing(call: Callable[..., Outcome], *arguments: object) -> None:
    """The same command on a finished target: all is well, and no file is touched, not even the manifest."""
    target = Path(str(arguments[1]))
    before = touched(target)
    outcome = call("suppress", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert not (changed := touched(target).items() ^ before.items()), changed


def assert_true_records(source: Path, target: Path) -> None:
    """The manifest says of every file what it is: sizes and hashes of both sides."""
    for record in records(target).values():
        if record["status"] == "done":
            for side, path in (("", source / record["source"]), ("target_", target / record["target"])):
                assert record[f"{side}bytes" if side else "bytes"] == path.stat().st_size
                assert record[f"{side}sha256" if side else "sha256"] == sha256(path)
