"""Which metric a sweep or search is judged by, and which way."""

from typing import Any

from jaxgen.errors import SettingError, check_choice
from jaxgen.report.sweep import Objective
from jaxgen.sweeps import probe
from jaxgen.sweeps.experiment import Experiment

DEFAULT = "test/loss"


def of(experiment: Experiment, config: Any, data: probe.Data, metric: str | None, maximize: bool) -> Objective:
    """The metric asked for, else the algorithm's `OBJECTIVE` (metric, maximize), else the test loss.

    Refuses one that the evaluation does not report.
    """
    known = probe.metric_names(experiment.algorithm, config, experiment.settings.hparams, data)
    if metric is not None:
        check_choice("metric", metric, known)
        return Objective(metric, maximize)
    if hasattr(experiment.algorithm, "OBJECTIVE"):
        return Objective(*experiment.algorithm.OBJECTIVE)
    if DEFAULT not in known:
        raise SettingError(f"give --metric, {experiment.name} has no {DEFAULT}: one of {', '.join(known)}")
    return Objective(DEFAULT, maximize)
