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
from texfilters.ssl.byol import BYOL
from texfilters.ssl.context_encoder import ContextEncoder
from texfilters.ssl.data import CIFAR10Data, FolderData, STL10Data
from texfilters.ssl.dense_cl import DenseCL
from texfilters.ssl.jigsaw import Jigsaw
from texfilters.ssl.moco_v2 import MoCoV2
from texfilters.ssl.online_knn import OnlineKNN
from texfilters.ssl.rotation import Rotation
from texfilters.ssl.supervised import Supervised
from texfilters.ssl.views import Views

__all__ = [
    "BYOL",
    "Backbone",
    "Batch",
    "CIFAR10Data",
    "ContextEncoder",
    "DenseCL",
    "FolderData",
    "Jigsaw",
    "Method",
    "MoCoV2",
    "OnlineKNN",
    "Recipe",
    "Rotation",
    "STL10Data",
    "Supervised",
    "Views",
    "load_backbone",
]
