"""Views as they are written in a YAML file."""

import importlib.util

import pytest

for package in ("kornia", "lightning", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

import jsonargparse  # noqa: E402
from torch import nn  # noqa: E402

from texfilters import transforms  # noqa: E402


class TestFromYaml:
    def parsed(self, text):
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(nn.Module, "views")
        config = parser.parse_string("views:\n  class_path: texfilters.ssl.views.Views\n  init_args:\n" + text)
        return parser.instantiate(config).views

    def test_numbers(self):
        views = self.parsed("    size: 32\n    scale: [0.3, 0.9]\n    jitter: 0.5\n")
        assert (views.size, views.scale, views.jitter) == (32, (0.3, 0.9), 0.5)
        assert isinstance(views.suppress, transforms.RandomTextureSuppression)

    def test_suppression_switched_off(self):
        for nothing in ("null", "none"):
            assert self.parsed(f"    suppress: {nothing}\n").suppress is None
        assert isinstance(self.parsed("    suppress: mixture\n").suppress, transforms.RandomTextureSuppression)

    def test_a_mixture_of_ones_own(self):
        views = self.parsed(
            """\
    suppress:
      class_path: texfilters.transforms.RandomTextureSuppression
      init_args:
        weights: [1, 3]
        filters:
          - class_path: texfilters.transforms.AnisotropicDiffusion
            init_args: {niter: [5, 9], kappa: 15}
          - null
"""
        )
        diffusion, nothing = views.suppress.filters
        assert (diffusion.niter, diffusion.kappa, nothing) == ((5, 9), 15.0, None)
        assert views.suppress.weights == (1, 3)

    def test_a_typo_is_named(self):
        with pytest.raises(jsonargparse.ArgumentError, match="brightnes"):
            self.parsed("    brightnes: 0.3\n")
        with pytest.raises(jsonargparse.ArgumentError, match="mixtur"):
            self.parsed("    suppress: mixtur\n")
