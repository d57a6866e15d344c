"""Changes of scores and verdicts when the same images are compressed, scaled or otherwise perturbed: predictions first, figures from them.

A *flip* is a verdict that differs from that of the unperturbed ("clean") image: *opposite* between real and ai-generated, else into or out
of inconclusive. Whether either verdict is right does not matter for it.

Intervals are 95 % percentile intervals of a bootstrap over images, photographs and generated images resampled separately, and one resample
serves all perturbations. No resample shows a flip that the data does not: an interval of 0..0 over n images only says that the rate is
probably below 3 / n.
"""

from dgsnet.evaluation.robustness.changes import CHANGE, MEAN_CHANGE
from dgsnet.evaluation.robustness.compare_runs import compare
from dgsnet.evaluation.robustness.evaluate_run import ACCURACY, evaluate
from dgsnet.evaluation.robustness.score_perturbed import CLEAN, SCHEMA, predict

__all__ = ["ACCURACY", "CHANGE", "CLEAN", "MEAN_CHANGE", "SCHEMA", "compare", "evaluate", "predict"]
