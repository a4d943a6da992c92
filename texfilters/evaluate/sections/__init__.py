"""What every measurement gives to a command and to a report: text, tables, figures and a record."""

from texfilters.evaluate.sections._model import LabeledImages, Model, Models

__all__ = ["LabeledImages", "Model", "Models"]
