"""What texture suppression does to a network: each measurement a function on tensors."""

from texfilters.evaluate._classification import Classification, classification
from texfilters.evaluate._error_consistency import ErrorConsistency, error_consistency, error_consistency_from_answers
from texfilters.evaluate._shape_bias import (
    Decisions,
    ShapeBias,
    ShapeBiasInterval,
    shape_bias,
    shape_bias_from_answers,
    shape_bias_interval,
    shape_bias_on_folder,
)
from texfilters.evaluate._shape_bias_figure import shape_bias_figure
from texfilters.evaluate._similarity import (
    Histogram,
    Similarity,
    similarity,
    similarity_figure,
    similarity_histograms,
)
from texfilters.evaluate._training import FINETUNE, MOCO, NONSEMANTIC, Epoch, Probe, ProbeRecipe
from texfilters.evaluate._transfer import LabeledFeatures, Transfer, transfer
from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES, category_probabilities
from texfilters.evaluate.confidence import (
    Calibration,
    Confidence,
    NetworkAnswers,
    calibration,
    network_answers,
    reliability_diagram,
    shared_confidence,
)
from texfilters.evaluate.corruptions import (
    CORRUPTIONS,
    CorruptionErrors,
    corrupt,
    corruption_errors,
    corruption_figure,
    corruption_table,
)
from texfilters.evaluate.cue_conflict import CueConflict, CueConflictAnswers, answers_on_folder, read_answers
from texfilters.evaluate.gold_loss_correction import GoldLossCorrection, glc
from texfilters.evaluate.high_frequencies import FrequencyCurve, accuracy_by_radius, frequency_figure, low_pass
from texfilters.evaluate.label_corruption import (
    area_under_error_curve,
    corrupted_labels,
    estimated_corruption,
    flip_corruption,
    glc_loss,
    gold_images,
    uniform_corruption,
)
from texfilters.evaluate.label_corruption_figure import error_curves
from texfilters.evaluate.own_classes import categories_of, read_mapping
from texfilters.evaluate.probes import features, finetune, knn, linear_probe, linear_probe_on_images
from texfilters.evaluate.saliency import Goodness, Spread, box_masks, goodness, grad_cam, gradient_saliency, spread
from texfilters.evaluate.saliency_figure import saliency_sheet
from texfilters.evaluate.texture import boundary_pairs, robust_kappa, suppression_curves
from texfilters.evaluate.texture_figure import kappa_figure, suppression_figure
from texfilters.evaluate.transfer_figure import transfer_figure

__all__ = [
    "CORRUPTIONS",
    "FINETUNE",
    "MOCO",
    "NONSEMANTIC",
    "SIXTEEN_CATEGORIES",
    "Calibration",
    "Classification",
    "Confidence",
    "CorruptionErrors",
    "CueConflict",
    "CueConflictAnswers",
    "Decisions",
    "Epoch",
    "ErrorConsistency",
    "FrequencyCurve",
    "GoldLossCorrection",
    "Goodness",
    "Histogram",
    "LabeledFeatures",
    "NetworkAnswers",
    "Probe",
    "ProbeRecipe",
    "ShapeBias",
    "ShapeBiasInterval",
    "Similarity",
    "Spread",
    "Transfer",
    "accuracy_by_radius",
    "answers_on_folder",
    "area_under_error_curve",
    "boundary_pairs",
    "box_masks",
    "calibration",
    "categories_of",
    "category_probabilities",
    "classification",
    "corrupt",
    "corrupted_labels",
    "corruption_errors",
    "corruption_figure",
    "corruption_table",
    "error_consistency",
    "error_consistency_from_answers",
    "error_curves",
    "estimated_corruption",
    "features",
    "finetune",
    "flip_corruption",
    "frequency_figure",
    "glc",
    "glc_loss",
    "gold_images",
    "goodness",
    "grad_cam",
    "gradient_saliency",
    "kappa_figure",
    "knn",
    "linear_probe",
    "linear_probe_on_images",
    "low_pass",
    "network_answers",
    "read_answers",
    "read_mapping",
    "reliability_diagram",
    "robust_kappa",
    "saliency_sheet",
    "shape_bias",
    "shape_bias_figure",
    "shape_bias_from_answers",
    "shape_bias_interval",
    "shape_bias_on_folder",
    "shared_confidence",
    "similarity",
    "similarity_figure",
    "similarity_histograms",
    "spread",
    "suppression_curves",
    "suppression_figure",
    "transfer",
    "transfer_figure",
    "uniform_corruption",
]
