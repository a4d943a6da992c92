"""The studies of pretraining: their commands, what is kept of a run, and their tables; nothing is trained."""

import csv
import json
import sys
from pathlib import Path

import pytest
import yaml

pytest.importorskip("lightning", reason="needs lightning")
pytest.importorskip("jsonargparse", reason="needs jsonargparse")

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT / "benchmarks"), str(ROOT / "tests" / "ssl")]

import machine  # noqa: E402
import pretraining_runs  # noqa: E402
import study_runner  # noqa: E402
import tables_studies  # noqa: E402
from command_lines import parsed  # noqa: E402
from pretraining_studies import STUDIES, Cell, cells  # noqa: E402


class TestCells:
    def test_every_study_variant_and_seed_is_one(self):
        names = [cell.name for cell in cells()]
        assert len(set(names)) == len(names) == sum(len(study.variants) * study.seeds for study in STUDIES.values())
        assert {"trial_plain_seed0", "cifar10_patches-alpha3_seed2", "pacs_suppressed_seed1"} <= set(names)

    @pytest.mark.parametrize("cell", [cell for cell in cells() if cell.seed == 0], ids=lambda cell: cell.name)
    def test_pretraining_is_what_the_command_takes(self, cell, tmp_path):
        given = parsed(cell.pretraining(tmp_path / "data", tmp_path / "run", 7))
        model, data = given.model.init_args, given.data.init_args
        study = STUDIES[cell.study]
        config = yaml.safe_load((ROOT / "ssl" / "configs" / study.config).read_text())
        assert given.model.class_path.endswith(config["model"]["class_path"].rpartition(".")[2])
        assert (given.out, given.seed_everything, given.trainer.max_epochs) == (str(tmp_path / "run"), 0, 7)
        assert given.data.class_path.endswith("FolderData")
        assert data.batch_size == config["data"]["init_args"]["batch_size"]  # kept though the class is another
        assert Path(data.root).parent == tmp_path / "data"
        assert data.resident
        # What sets the variants apart, and nothing else does.
        suppress = "mixture" if cell.variant == "suppressed" else "none"
        assert model.views.init_args.suppress == suppress
        if cell.variant.startswith("patches"):
            assert (model.nonsemantic, model.alpha) == (1, float(cell.variant[-1]))
        elif hasattr(model, "nonsemantic"):
            assert model.nonsemantic == 0

    @pytest.mark.parametrize("study", STUDIES)
    def test_so_are_its_probes(self, study, tmp_path):
        cell = Cell(study, "suppressed", 2)
        found = cell.measurements(tmp_path / "data", tmp_path / "run")
        study = STUDIES[study]
        wanted = {f"{test} {probe}": (test, how) for test in study.tests for probe, how in study.probes.items()}
        assert list(found) == list(wanted)
        pretrained = parsed(cell.pretraining(tmp_path / "data", tmp_path / "run", 1)).data.init_args
        for name, (command, result) in found.items():
            test, (method, *options) = wanted[name]
            given = parsed(command)
            assert (given.method, given.seed) == (method, 2)
            assert given.random_init == ("--random_init" in options)
            assert result == Path(given.out) / f"{method}.json"
            assert given.checkpoint == f"{tmp_path / 'run'}/last.ckpt"
            data = given.data.init_args
            for same in ("root", "side", "domains"):  # learned from what was pretrained on
                assert data[same] == pretrained[same]
            if cell.study == "pacs":
                assert (data.domains, data.val_domains) == (["photo"], [test])

    def test_results_are_kept_apart(self, tmp_path):
        for study in STUDIES:
            results = [result for _, result in Cell(study, "plain", 0).measurements("data", tmp_path).values()]
            assert len(set(results)) == len(results)


class TestCurve:
    def test_one_row_an_epoch(self, tmp_path):
        """As Lightning's CSVLogger writes it: rates before an epoch, some steps, what is measured after it."""
        names = ["epoch", "knn", "loss_epoch", "loss_step", "lr-SGD", "similarity", "step"]
        rows = [
            {"lr-SGD": 0.1, "step": 0},
            {"epoch": 0, "loss_step": 5.0, "step": 9},
            {"epoch": 0, "loss_epoch": 4.5, "similarity": 0.9, "step": 19},
            {"epoch": 0, "knn": 0.25, "step": 19},
            {"lr-SGD": 0.05, "step": 20},
            {"epoch": 1, "loss_step": 4.0, "step": 29},
            {"epoch": 1, "knn": 0.5, "loss_epoch": 3.5, "similarity": 0.8, "step": 39},
            {"epoch": 2, "loss_step": 3.0, "step": 49},  # cut short
        ]
        with (tmp_path / "metrics.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        assert pretraining_runs.curve_of(tmp_path / "metrics.csv") == [
            {"epoch": 0, "loss": 4.5, "similarity": 0.9, "knn": 0.25},
            {"epoch": 1, "knn": 0.5, "loss": 3.5, "similarity": 0.8},
        ]


@pytest.fixture
def main(tmp_path, monkeypatch):
    """The command on drawn results: instead of training it notes which cell was asked for."""
    trained = []

    def run(cell, data, epochs, logs):
        trained.append((cell.name, epochs))
        if cell.variant == "plain":
            raise RuntimeError("ended with 1")
        return {"accuracies": {"test knn": 0.5}, "training_seconds": 1.0}

    monkeypatch.setattr(pretraining_runs, "run", run)
    monkeypatch.setattr(study_runner.torch.cuda, "is_available", lambda: False)

    def call(*options):
        trained.clear()
        folders = ["--results", str(tmp_path / "results"), "--logs", str(tmp_path / "logs")]
        monkeypatch.setattr(sys, "argv", ["pretraining_runs.py", str(tmp_path), *folders, *options])
        with pytest.raises(SystemExit) as end:
            pretraining_runs.main()
        return end.value.code, list(trained)

    return call


class TestRuns:
    def test_what_has_a_result_is_left_out_and_what_failed_is_tried_again(self, main, tmp_path, capsys):
        epochs = STUDIES["trial"].epochs
        code, trained = main("--study", "trial")
        assert (code, trained) == (1, [("trial_plain_seed0", epochs), ("trial_suppressed_seed0", epochs)])
        assert "trial_plain_seed0: RuntimeError: ended with 1" in capsys.readouterr().out
        written = tmp_path / "results" / "trial_suppressed_seed0.json"
        assert json.loads(written.read_text())["accuracies"] == {"test knn": 0.5}
        assert list(written.parent.iterdir()) == [written]

        assert main("--study", "trial") == (1, [("trial_plain_seed0", epochs)])
        assert main("--study", "trial", "--cells", "suppressed_*") == (0, [])

    def test_cells_and_epochs_can_be_chosen(self, main):
        assert main("--study", "trial", "--cells", "suppressed*", "--epochs", "3") == (
            0,
            [("trial_suppressed_seed0", 3)],
        )

    def test_studies_of_hours_want_a_gpu(self, main, capsys):
        assert main("--study", "cifar10") == (2, [])
        assert "study cifar10 takes hours without a GPU" in capsys.readouterr().err

    def test_a_command_that_fails_shows_the_end_of_its_log(self, tmp_path):
        command = ["-c", "print('told'); raise SystemExit(3)"]
        with pytest.raises(RuntimeError, match=r"ended with 3, see .*log: told"):
            pretraining_runs._call(command, tmp_path / "log")

    def test_a_result_says_how_to_repeat_it(self, tmp_path, monkeypatch):
        def call(command, log):
            """Leaves what the command would leave."""
            options = dict(option.split("=", 1) for option in command if "=" in option)
            out = Path(options["--out"])
            if command[0] == "ssl/pretrain.py":
                (out / "logs" / "version_0").mkdir(parents=True)
                (out / "logs" / "version_0" / "metrics.csv").write_text("epoch,loss_epoch,step\n0,1.5,9\n")
                return 12.34
            out.mkdir(parents=True, exist_ok=True)
            (out / f"{options['--method']}.json").write_text('{"accuracy": 0.75}')
            return 1.0

        monkeypatch.setattr(pretraining_runs, "_call", call)
        cell = Cell("pacs", "patches-alpha2", 1)
        result = pretraining_runs.run(cell, tmp_path / "data", 5, tmp_path)
        assert result["accuracies"] == dict.fromkeys(cell.measurements("", ""), 0.75)
        assert (result["training_seconds"], result["curve"]) == (12.3, [{"epoch": 0, "loss": 1.5}])
        assert (result["study"], result["variant"], result["seed"], result["epochs"]) == (
            "pacs",
            "patches-alpha2",
            1,
            5,
        )
        first, *probes = result["commands"]
        assert first.startswith("python ssl/pretrain.py --config=ssl/configs/moco_v2-pacs.yaml --out=RUN ")
        assert len(probes) == 6
        assert str(tmp_path) not in machine.as_json(result)
        for command in result["commands"]:
            parsed(command)


def result(variant, seed, **accuracies):
    return {
        "study": "cifar10", "variant": variant, "seed": seed, "epochs": 30, "training_seconds": 100.0 + seed,
        "accuracies": {f"test {probe}": value for probe, value in accuracies.items()},
        "date": f"2026-11-2{seed}", "commit": "abc1234", "device": "a GPU", "packages": {"torch": "2.15.0"},
    }  # fmt: skip


class TestTables:
    def test_mean_and_deviation_over_seeds(self, tmp_path):
        drawn = [result("plain", seed, knn=value, linear=0.8) for seed, value in enumerate((0.70, 0.71, 0.75))]
        drawn += [result("patches-alpha2", 0, knn=0.5, linear=0.625)]
        for one in drawn:
            (tmp_path / f"cifar10_{one['variant']}_seed{one['seed']}.json").write_text(json.dumps(one))
        (tmp_path / "trial_plain_seed0.json").write_text("of another study")
        lines = tables_studies.table_of("cifar10", tmp_path).splitlines()
        assert lines[0] == "|  | test knn | test linear | epochs | runs |"
        # 72 and the root of (2**2 + 1**2 + 3**2) / 2, by hand.
        assert lines[2:4] == [
            "| plain | 72.0 ± 2.6 | 80.0 ± 0.0 | 30 | 3 |",
            "| patches, alpha2 | 50.0 | 62.5 | 30 | 1 |",
        ]
        assert "101 s of training a run" in lines[5]
        assert lines[-1] == "<sub>a GPU; 2026-11-20, 2026-11-21, 2026-11-22; commit abc1234; torch 2.15.0.</sub>"

    def test_runs_of_other_lengths_and_machines_are_not_mixed(self, tmp_path):
        long, short = result("plain", 0, knn=0.8), result("plain", 1, knn=0.4) | {"epochs": 3, "device": "another"}
        for one in (long, short):
            (tmp_path / f"cifar10_plain_seed{one['seed']}.json").write_text(json.dumps(one))
        lines = tables_studies.table_of("cifar10", tmp_path).splitlines()
        assert lines[2:4] == ["| plain | 40.0 | 3 | 1 |", "| plain | 80.0 | 30 | 1 |"]
        assert lines[-1].startswith("<sub>a GPU; another; ")

    def test_what_is_not_there_is_not_made_up(self, tmp_path):
        assert tables_studies.table_of("cifar10", tmp_path) == "Not yet measured on a GPU.\n"
        assert tables_studies.table_of("trial", tmp_path) == "Not yet measured.\n"
