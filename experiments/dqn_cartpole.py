"""DQN that runs entirely on the device: CartPole and any other gymnax environment with discrete actions.

    python experiments/dqn_cartpole.py --preset quick               # half of that: seed 0 reaches 500 of 500
    python experiments/dqn_cartpole.py                              # solves CartPole-v1
    python experiments/dqn_cartpole.py --run.seeds 32               # 32 seeds in one program
    python experiments/dqn_cartpole.py --preset chapter             # the chapter's net and settings, 100 episodes
    python experiments/dqn_cartpole.py --config.environment Acrobot-v1 --config.n-step 3

The preset chapter follows the chapter's text. The chapter's code departs from it (docs/differences.md lists how) and is
not reproduced. The chapter gives no learning rate; 2e-3 is the default of its R package (keras up to 2.9.0).

With several cores and seeds, the seeds are spread over the cores. Returns and times: docs/measurements.md.
"""

from dataclasses import replace

import jaxgen.launch.early  # noqa: F401 Ctrl-C while the rest is imported
from jaxgen import page, report
from jaxgen.algorithms import dqn
from jaxgen.experiment import Experiment
from jaxgen.runs.settings import RunSettings, Settings

SOLVE = Settings(
    dqn.Config(
        envs=10,
        updates=2,
        batch_size=64,
        replay_size=10_000,
        learning_starts=5_000,
        n_step=10,  # a cart that drifts loses return only hundreds of steps later, when it leaves the track
        widths=(64, 64),
        double=False,
        target_every=100,
        loss="squared",  # the Huber loss would flatten the rare large errors of a falling pole
        clip_gradients=False,
        schedule="linear",  # to 0, so that a solved task stays solved
        evaluation_episodes=100,
        steps_per_epoch=500,
    ),
    dqn.HParams(learning_rate=5e-4, epsilon_steps=50_000.0, epsilon_end=0.02),
    RunSettings(epochs=20),
)
CHAPTER = Settings(
    dqn.Config(
        envs=1,
        batch_size=32,
        replay_size=8_000,
        learning_starts=32,
        widths=(20, 20),
        double=False,
        loss="squared",
        clip_gradients=False,
        optimizer="adamax",
        epsilon_schedule="exponential",
        episodes=100,
        steps_per_epoch=2_500,
    ),
    # Multiplied by 0.995 at every step, epsilon falls from 0.95 to 0.01 in 908.5 steps.
    dqn.HParams(
        learning_rate=2e-3,
        gamma=0.95,
        epsilon_start=0.95,
        epsilon_end=0.01,
        epsilon_steps=908.5,
        termination_reward=-11.0,
    ),
    # 100 episodes of at most 500 steps; a seed stops learning after its 100th.
    RunSettings(epochs=20),
)
QUICK = replace(SOLVE, run=RunSettings(epochs=10))
EXPERIMENT = Experiment(
    "dqn_cartpole",
    dqn,
    {"solve": SOLVE, "chapter": CHAPTER, "quick": QUICK},
    figures=report.dqn.draw,
    page=page.at_end,
    summarize=report.dqn.summarize,
    describe=report.dqn.describe,
    pictures=("pole.gif", "returns.png"),
)


if __name__ == "__main__":
    EXPERIMENT.main(__doc__)
