"""Linear autoencoder on embedded digits: `python examples/linear.py`, a second of training, test loss about 11."""

import linear_autoencoder

from jaxgen import Experiment, RunSettings, Settings
from jaxgen.data import DataSettings

DIGITS = Settings(
    linear_autoencoder.Config(), linear_autoencoder.HParams(3e-3), RunSettings(epochs=20), DataSettings("digits")
)
EXPERIMENT = Experiment("linear", linear_autoencoder, {"digits": DIGITS})

if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
