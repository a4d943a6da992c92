"""What texture suppression does to a network: each measurement a function on tensors."""

from texfilters.evaluate._classification import Classification, classification
from texfilters.evaluate._training import FINETUNE, MOCO, NONSEMANTIC, Epoch, Probe, ProbeRecipe
from texfilters.evaluate.probes import features, finetune, knn, linear_probe, linear_probe_on_images

__all__ = [
    "FINETUNE",
    "MOCO",
    "NONSEMANTIC",
    "Classification",
    "Epoch",
    "Probe",
    "ProbeRecipe",
    "classification",
    "features",
    "finetune",
    "knn",
    "linear_probe",
    "linear_probe_on_images",
]
