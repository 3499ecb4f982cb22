"""The metric by which a sweep or search is judged, and its direction."""

from typing import Any

from jaxgen.contract import Objective
from jaxgen.errors import SettingError, check_choice
from jaxgen.sweeps import probe
from jaxgen.sweeps.experiment import Chosen


def of(experiment: Chosen, config: Any, data: probe.Data, metric: str | None, maximize: bool) -> Objective:
    """The requested metric, else the algorithm's objective; refuses one that the evaluation does not report."""
    known = probe.metric_names(experiment.algorithm, config, experiment.settings.hparams, data)
    if metric is not None:
        check_choice("metric", metric, known)
        return Objective(metric, maximize)
    objective = experiment.algorithm.TRAITS.objective
    if objective is None:
        raise SettingError(f"give --metric, {experiment.name} has no objective of its own: one of {', '.join(known)}")
    return objective
