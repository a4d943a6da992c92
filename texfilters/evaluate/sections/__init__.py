"""What every measurement gives to a command and to a report: text, tables, figures and a record."""

from texfilters.evaluate.sections._confidence import confidence
from texfilters.evaluate.sections._corruptions import corruptions
from texfilters.evaluate.sections._high_frequencies import high_frequencies
from texfilters.evaluate.sections._label_corruption import label_corruption
from texfilters.evaluate.sections._model import LabeledImages, Model, Models
from texfilters.evaluate.sections._saliency import saliency
from texfilters.evaluate.sections._shape_bias import shape_bias
from texfilters.evaluate.sections._similarity import similarity
from texfilters.evaluate.sections._texture import texture
from texfilters.evaluate.sections._transfer import transfer

__all__ = [
    "LabeledImages",
    "Model",
    "Models",
    "confidence",
    "corruptions",
    "high_frequencies",
    "label_corruption",
    "saliency",
    "shape_bias",
    "similarity",
    "texture",
    "transfer",
]
