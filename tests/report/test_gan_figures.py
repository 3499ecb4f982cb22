"""The figures and the summary of a GAN."""

from types import SimpleNamespace

from jaxgen.report import gan


def test_running_losses_begin_with_the_first_epoch_that_has_a_row():
    rows = [{"step": step, "train/generator_loss": 1.0, "train/discriminator_loss": 2.0} for step in (25, 50)]
    table = gan.summarize(SimpleNamespace(many=None, rows=rows, steps_per_epoch=10), {})["running_losses"]
    assert [(row["epoch"], row["step"]) for row in table] == [(3, 25), (4, 25), (5, 50)]
    assert table[0] | {"generator": 1.0, "discriminator": 2.0} == table[0]
