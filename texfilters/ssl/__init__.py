"""Pretraining without labels on texture-suppressed images: a LightningModule a method, over torchvision's networks."""

try:
    import kornia  # noqa: F401
    import lightning  # noqa: F401
    import torchvision  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(f"texfilters.ssl needs {error.name}: pip install 'texfilters[ssl]'", name=error.name) from error

from texfilters.ssl._backbones import Backbone
from texfilters.ssl._checkpoint import load_backbone
from texfilters.ssl._method import Batch, Method
from texfilters.ssl._recipe import Recipe

__all__ = ["Backbone", "Batch", "Method", "Recipe", "load_backbone"]
