"""The base of the methods: seeds, the watch over the loss, schedules in runs, batches that are too small."""

import math
import warnings

import pytest
import torch
from lightning import LightningModule
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

pytest.importorskip("lightning", reason="needs lightning")

from lightning import LightningDataModule

from ssl_runs import Toy, fit, loader, same, trainer, weights
from texfilters.ssl import Method, Recipe, load_backbone
from texfilters.ssl._checkpoint import read
from texfilters.ssl._seeds import generator_for, seed_everything_for

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


class TestSeeds:
    def drawn(self, *where):
        seed_everything_for(*where)
        return torch.randint(2**62, (3,)).tolist()

    def test_a_step_is_known_by_seed_epoch_batch_and_rank(self):
        places = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 0, -1, 0), (2**32, 0, 0, 0)]
        first = [self.drawn(*place) for place in places]
        assert [self.drawn(*place) for place in places] == first
        assert len({tuple(numbers) for numbers in first}) == len(places)

    def test_what_ranks_share_is_no_ranks_own(self):
        def shared(*where):
            return torch.randint(2**62, (3,), generator=generator_for(*where)).tolist()

        assert shared(0, 1, 2) == shared(0, 1, 2)
        numbers = [shared(0, 1, 2), shared(0, 1), shared(0, 1, 0), shared(0, 2), shared(1, 1, 2)]
        numbers += [self.drawn(0, 1, 2, rank) for rank in range(3)]
        assert len(set(map(tuple, numbers))) == len(numbers)

    def test_the_generator_leaves_torchs_own_alone(self):
        state = torch.get_rng_state()
        generator_for(0, 1, 2)
        assert torch.equal(torch.get_rng_state(), state)

    def test_a_seed_below_0(self):
        with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
            Toy(seed=-1)


class TestRuns:
    def test_draws_are_those_of_the_place_whatever_was_drawn_between(self, tmp_path):
        first, second = Toy(), Toy()
        fit(first, tmp_path / "a", 2)
        torch.manual_seed(99)
        fit(second, tmp_path / "b", 2)
        assert len(first.drawn) == 6
        assert first.drawn == second.drawn
        assert len(set(first.drawn)) == 6
        expected = []
        for epoch in range(2):
            for batch in range(3):
                seed_everything_for(0, epoch, batch, 0)
                expected.append(torch.randn(4, 3, 16, 16)[0, 0, 0, 0].item())
        assert first.drawn == expected

    def test_a_resumed_run_is_the_undisturbed_one(self, tmp_path):
        torch.manual_seed(0)
        whole = Toy()
        start = weights(whole)
        fit(whole, tmp_path / "whole", 4)
        half = Toy()
        half.load_state_dict(start)
        # Planned for four epochs, and stopped in the midst of the third.
        half.broken = lambda method, loss: loss * (math.nan if len(method.drawn) == 8 else 1)
        with pytest.raises(FloatingPointError):
            fit(half, tmp_path / "half", 4)
        assert read(tmp_path / "half" / "last.ckpt")["epoch"] == 1
        torch.manual_seed(5)
        rest = Toy()
        fit(rest, tmp_path / "half", 4, resume=tmp_path / "half" / "last.ckpt")
        assert len(rest.drawn) == 6
        assert rest.drawn == whole.drawn[6:]
        assert same(weights(rest), weights(whole))

    def test_the_rate_follows_the_recipe(self, tmp_path):
        method = Toy(recipe=Recipe(lr=0.1, warmup=1, every_step=True))
        fit(method, tmp_path, 2)
        expected = [0, 1 / 3, 2 / 3] + [0.5 * (1 + math.cos(math.pi * n / 3)) for n in range(3)]
        assert method.rates == pytest.approx([0.1 * rate for rate in expected])

    def test_a_run_that_is_made_longer_says_what_follows(self, tmp_path):
        fit(Toy(), tmp_path, 2)
        method = Toy()
        with pytest.warns(UserWarning, match="epochs 2 there and 4 here.*follows the schedule of this run"):
            fit(method, tmp_path, 4, resume=tmp_path / "last.ckpt")
        assert method.rates == pytest.approx([0.025] * 3 + [0.05 * 0.5 * (1 + math.cos(0.75 * math.pi))] * 3)

    def test_a_run_on_other_batches_says_so(self, tmp_path):
        fit(Toy(), tmp_path, 2)
        with pytest.warns(UserWarning, match="batches an epoch 3 there and 2 here"):
            fit(Toy(), tmp_path, 3, data=loader(12, 6), resume=tmp_path / "last.ckpt")

    def test_a_run_on_other_data_says_so(self, tmp_path, monkeypatch):
        class Data(LightningDataModule):
            def __init__(self, side):
                super().__init__()
                self.side = side

            def settings(self):
                return {"side": self.side}

            def train_dataloader(self):
                return loader()

        fit(Toy(), tmp_path, 1, data=Data(16))
        with pytest.warns(UserWarning, match="side 16 there and 18 here"):
            fit(Toy(), tmp_path, 2, data=Data(18), resume=tmp_path / "last.ckpt")

    def test_an_undisturbed_resumption_says_nothing(self, tmp_path):
        fit(Toy(), tmp_path / "a", 2)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit(Toy(), tmp_path / "a", 2, resume=tmp_path / "a" / "last.ckpt")
        assert not [w for w in caught if "checkpoint is of a run" in str(w.message)]

    def test_nothing_waits_for_the_device_between_looks(self, tmp_path, monkeypatch):
        """Every reading of a tensor's value would, on a GPU."""
        read_in = []

        class Counting(Toy):
            def loss(self, batch):
                return nn.functional.cross_entropy(self.head(self.backbone(batch.images / 255)), batch.labels)

            training_step = Method.training_step

            def on_train_batch_start(self, batch, batch_idx):
                super().on_train_batch_start(batch, batch_idx)
                read_in.append(0)

        for name in ("item", "tolist", "__int__", "__float__", "__bool__", "__index__"):
            original = getattr(torch.Tensor, name)

            def counted(tensor, *args, original=original):
                if read_in:
                    read_in[-1] += 1
                return original(tensor, *args)

            monkeypatch.setattr(torch.Tensor, name, counted)
        fit(Counting(), tmp_path, 1, data=DataLoader(list(loader(40, 4)), batch_size=None), log_every_n_steps=4)
        assert len(read_in) == 10
        looks = [count > 0 for count in read_in[:-1]]
        assert looks == [False, False, False, True, False, False, False, True, False]


class TestLossesThatAreNotFinite:
    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_the_run_stops_and_says_where(self, tmp_path, value):
        method = Toy(broken=lambda method, loss: loss * value if len(method.drawn) == 5 else loss)
        with pytest.raises(FloatingPointError, match="not finite in epoch 1, batch 1"):
            fit(method, tmp_path, 3)
        assert read(tmp_path / "last.ckpt")["epoch"] == 0
        assert all(value.isfinite().all() for value in load_backbone(tmp_path / "last.ckpt").state_dict().values())

    def test_it_stops_at_the_next_look(self, tmp_path):
        method = Toy(broken=lambda method, loss: loss * math.nan if len(method.drawn) == 2 else loss)
        with pytest.raises(FloatingPointError, match="epoch 0, batch 1"):
            fit(method, tmp_path, 1, data=loader(40, 4), log_every_n_steps=4)
        assert len(method.drawn) == 4

    def test_the_last_batch_of_an_epoch_is_not_saved(self, tmp_path):
        method = Toy(broken=lambda method, loss: loss * math.nan if len(method.drawn) == 6 else loss)
        with pytest.raises(FloatingPointError, match="epoch 1, batch 2"):
            fit(method, tmp_path, 3, log_every_n_steps=50)
        assert read(tmp_path / "last.ckpt")["epoch"] == 0

    def test_neither_are_weights_that_a_gradient_spoiled(self, tmp_path):
        """Where the last loss itself was finite."""

        def broken(method, loss):
            # The root of 0 is 0, and its slope infinite.
            return loss + (method.head.bias * 0).abs().sum().sqrt() if len(method.drawn) == 6 else loss

        with pytest.raises(FloatingPointError, match=r"is not finite after epoch 1 .*no checkpoint is saved"):
            fit(Toy(broken=broken), tmp_path, 3)
        assert read(tmp_path / "last.ckpt")["epoch"] == 0

    def test_validation_is_not_begun(self, tmp_path):
        class Validated(Toy):
            def validation_step(self, batch, batch_idx):
                raise AssertionError("validated")

        method = Validated(broken=lambda method, loss: loss * math.nan)
        run = trainer(tmp_path, 1, num_sanity_val_steps=0, log_every_n_steps=50)
        with pytest.raises(FloatingPointError, match="epoch 0, batch 0"):
            run.fit(method, loader(), loader())


class TestBatches:
    def test_of_one_image_have_no_statistics(self, tmp_path):
        method = Toy()
        start = weights(method)
        with pytest.raises(ValueError, match="at least 2 images, got a batch of 1"):
            fit(method, tmp_path, 1, data=loader(3, 1))
        assert method.drawn == []
        assert same(weights(method), start)

    def test_of_one_image_in_a_part(self, tmp_path):
        with pytest.raises(ValueError, match="at least 2 images in each of 4 parts, got a batch of 4"):
            fit(Toy(norm_splits=4), tmp_path, 1)

    def test_of_one_image_will_do_without_batch_normalization(self, tmp_path):
        method = Toy()
        method.backbone = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, method.backbone.dim))
        fit(method, tmp_path, 1, data=loader(2, 1), callbacks=[], enable_checkpointing=False)
        assert len(method.drawn) == 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
class TestOnAGpu:
    # "warn": cuBLAS may have been used before its workspace was asked to be a fixed one.
    on_gpu = {"accelerator": "gpu", "devices": 1, "deterministic": "warn"}  # noqa: RUF012

    def test_a_resumed_run_is_the_undisturbed_one(self, tmp_path):
        torch.manual_seed(0)
        whole, half, rest = Toy(), Toy(), Toy()
        half.load_state_dict(whole.state_dict())
        fit(whole, tmp_path / "whole", 4, **self.on_gpu)
        half.broken = lambda method, loss: loss * (math.nan if len(method.drawn) == 8 else 1)
        with pytest.raises(FloatingPointError, match="epoch 2, batch 1"):
            fit(half, tmp_path / "half", 4, **self.on_gpu)
        fit(rest, tmp_path / "half", 4, resume=tmp_path / "half" / "last.ckpt", **self.on_gpu)
        assert rest.drawn == whole.drawn[6:]
        ends = [read(tmp_path / name / "last.ckpt") for name in ("whole", "half")]
        assert same(*(end["state_dict"] for end in ends))

    def test_a_step_waits_for_nothing(self, tmp_path):
        class Strict(Toy):
            def loss(self, batch):
                return nn.functional.cross_entropy(self.head(self.backbone(batch.images / 255)), batch.labels)

            training_step = Method.training_step

            def on_train_batch_start(self, batch, batch_idx):
                super().on_train_batch_start(batch, batch_idx)
                torch.cuda.set_sync_debug_mode("error" if batch_idx else "default")

            def on_train_batch_end(self, outputs, batch, batch_idx):
                if (batch_idx + 1) % 4:  # no look
                    super().on_train_batch_end(outputs, batch, batch_idx)
                torch.cuda.set_sync_debug_mode("default")

        try:
            fit(Strict(), tmp_path, 1, data=loader(40, 4), log_every_n_steps=4, **self.on_gpu)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_loss_without_a_trainer_logs_nothing():
    Toy().log("value", torch.tensor(1.0))


def test_a_recipe_must_be_one():
    with pytest.raises(TypeError, match="recipe must be a Recipe, got dict"):
        Toy(recipe={"lr": 1.0})


@pytest.mark.parametrize("every_step", [False, True])
@pytest.mark.parametrize("max_steps", [-1, 2])
def test_a_run_without_an_end_has_no_schedule(tmp_path, every_step, max_steps):
    with pytest.raises(ValueError, match="max_epochs must be at least 1, got -1"):
        fit(Toy(recipe=Recipe(every_step=every_step)), tmp_path, -1, max_steps=max_steps)


def test_a_schedule_of_steps_needs_their_number(tmp_path):
    class Unnumbered(IterableDataset):
        def __iter__(self):
            return iter(loader())

    with pytest.raises(ValueError, match="every_step needs data of a known length, got none"):
        trainer(tmp_path, 1).fit(Toy(recipe=Recipe(every_step=True)), DataLoader(Unnumbered(), batch_size=None))


def test_what_is_logged_is_of_all_processes(monkeypatch):
    given = {}
    monkeypatch.setattr(LightningModule, "log", lambda self, name, value, **options: given.update({name: options}))
    method = Toy()
    method._trainer = object()
    method.log("one", torch.tensor(1.0))
    method.log_dict({"two": torch.tensor(2.0)}, batch_size=3)
    assert {name: options["sync_dist"] for name, options in given.items()} == {"one": True, "two": True}
    assert given["two"]["batch_size"] == 3


def test_validation_draws_the_same_in_every_epoch(tmp_path):
    class Validated(Toy):
        def validation_step(self, batch, batch_idx):
            seen.append(torch.rand(()).item())

    seen = []
    run = trainer(tmp_path, 2, num_sanity_val_steps=0)
    run.fit(Validated(), loader(), loader())
    assert len(set(seen[:3])) == 3
    assert seen[:3] == seen[3:]
