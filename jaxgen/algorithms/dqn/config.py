"""Settings of the deep Q-network: what fixes its programs, and the numbers it is trained with."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax

from jaxgen import optim
from jaxgen.errors import check_at_least, check_choice, refuse
from jaxgen.losses.temporal_difference import Loss
from jaxgen.nets import q
from jaxgen.rl import environments

Sampling = Literal["uniform", "prioritized"]
Fall = Literal["linear", "exponential"]


@dataclass(frozen=True)
class Config:
    """Static settings: they fix shapes and programs, and a new value compiles again."""

    environment: str = "CartPole-v1"
    """A gymnax environment with discrete actions: CartPole-v1, Acrobot-v1, Breakout-MinAtar, Catch-bsuite, ..."""
    envs: int = 10
    """Copies of it that are played side by side."""
    collect: int = 1
    """Steps of each copy a training step."""
    updates: int = 1
    """Updates of the net a training step."""
    batch_size: int = 128
    """Transitions an update looks at."""
    replay_size: int = 10_000
    """Transitions remembered, a multiple of envs."""
    learning_starts: int = 1_000
    """Environment steps before the first training step, a multiple of envs."""
    sampling: Sampling = "uniform"
    """Which transitions are learned from: any, or more often those that were learned least (by their last error)."""
    n_step: int = 1
    """Rewards summed before the net is asked what follows."""
    widths: tuple[int, ...] = (120, 84)
    """Hidden widths of the net."""
    channels: int = 16
    """Channels of the convolution before them where observations are images (H, W, C); 0: none."""
    activation: q.Activation = "relu"
    """After every hidden layer."""
    dueling: bool = False
    """Value and advantages apart."""
    double: bool = True
    """The net picks the next action and its older copy, the target, values it; False: the target does both."""
    target_every: int = 1
    """Updates between those of the target."""
    loss: Loss = "huber"
    """Of the error: half its square, or that up to 1 and straight beyond."""
    clip_gradients: bool = True
    """Shorten gradients longer than hparams.max_grad_norm."""
    optimizer: optim.Family = "adam"
    """Optimizer family; its numbers are in hparams."""
    schedule: optim.Schedule = "constant"
    """How the learning rate falls over hparams.schedule_steps."""
    epsilon_schedule: Fall = "linear"
    """How epsilon falls from its start to its end: by equal differences, or by equal ratios."""
    episodes: int = 0
    """Training episodes after which nothing more is learned, and whose scores are kept; 0: no end."""
    evaluation_episodes: int = 128
    """Fresh episodes a greedy policy is judged by."""
    steps_per_epoch: int = 1_000
    """Training steps between evaluations."""

    def __post_init__(self) -> None:
        for field, kind in _CHOICES.items():
            check_choice(f"config.{field}", getattr(self, field), get_args(kind))
        for field in _POSITIVE:
            check_at_least(f"config.{field}", getattr(self, field), 1)
        for field in ("channels", "episodes"):
            check_at_least(f"config.{field}", getattr(self, field), 0)
        if not self.widths or any(width < 1 for width in self.widths):
            refuse("config.widths", self.widths, "positive integers")
        for field in ("replay_size", "learning_starts"):
            if getattr(self, field) % self.envs:
                refuse(f"config.{field}", getattr(self, field), f"a multiple of config.envs, {self.envs}")
        if self.replay_size < self.batch_size:
            refuse("config.replay_size", self.replay_size, f"at least config.batch_size, {self.batch_size}")
        if self.replay_size < self.n_step * self.envs:
            refuse("config.replay_size", self.replay_size, f"at least n_step x envs, {self.n_step * self.envs}")
        least = max(self.batch_size, (self.n_step - self.collect) * self.envs)
        if self.learning_starts + self.transitions < least:
            refuse(
                "config.learning_starts",
                self.learning_starts,
                f"at least {least - self.transitions}, for the first update needs {least} transitions",
            )

    @property
    def transitions(self) -> int:
        """Environment steps of a training step."""
        return self.collect * self.envs


_CHOICES: dict[str, Any] = {
    "sampling": Sampling,
    "activation": q.Activation,
    "loss": Loss,
    "optimizer": optim.Family,
    "schedule": optim.Schedule,
    "epsilon_schedule": Fall,
}
_POSITIVE = (
    "envs",
    "collect",
    "updates",
    "batch_size",
    "replay_size",
    "learning_starts",
    "n_step",
    "target_every",
    "evaluation_episodes",
    "steps_per_epoch",
)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class HParams(optim.HParams):
    """The numbers of the optimizer, of the returns and of exploration."""

    gamma: float = 0.99
    """Worth of a reward one step later, in [0, 1]."""
    epsilon_start: float = 1.0
    """Share of random actions at first, in [0, 1]."""
    epsilon_end: float = 0.05
    """Share of random actions in the end, in [0, 1]."""
    epsilon_steps: float = 10_000.0
    """Environment steps in which one becomes the other, >= 1."""
    tau: float = 1.0
    """How far the target moves toward the net when it moves; in (0, 1], 1: becomes its copy."""
    max_grad_norm: float = 10.0
    """Length gradients are shortened to, > 0."""
    termination_reward: float = 0.0
    """Added to the reward of a step that ends the episode (not of one at which it is cut)."""
    priority_exponent: float = 0.6
    """With sampling prioritized: 0 is uniform, 1 by the error; in [0, 1]."""
    importance_exponent: float = 0.4
    """With sampling prioritized: how far the loss makes up for it, in [0, 1]."""
    schedule_steps: float = 0.0
    """Updates that config.schedule is spread over; 0: those of the run."""


def validate(hparams: HParams, config: Config) -> None:
    """Refuses hyperparameters out of range and environments that cannot be played (`Config` checks the rest itself)."""
    optim.validate(hparams)
    for field in ("gamma", "epsilon_start", "epsilon_end", "priority_exponent", "importance_exponent"):
        if not 0 <= getattr(hparams, field) <= 1:
            refuse(f"hparams.{field}", getattr(hparams, field), "0 to 1")
    if not 0 < hparams.tau <= 1:
        refuse("hparams.tau", hparams.tau, "more than 0, at most 1")
    if not hparams.max_grad_norm > 0:
        refuse("hparams.max_grad_norm", hparams.max_grad_norm, "a number > 0")
    if not abs(hparams.termination_reward) < float("inf"):
        refuse("hparams.termination_reward", hparams.termination_reward, "a number")
    check_at_least("hparams.epsilon_steps", hparams.epsilon_steps, 1)
    if config.epsilon_schedule == "exponential" and not (hparams.epsilon_start > 0 and hparams.epsilon_end > 0):
        refuse(
            "hparams.epsilon_end",
            hparams.epsilon_end,
            "more than 0, as epsilon_start, with epsilon_schedule exponential",
        )
    optim.validate_schedule(config.schedule, hparams.schedule_steps)
    environments.make(config.environment)


def complete(hparams: HParams, config: Config, steps: int) -> HParams:
    """The hyperparameters of a run of so many steps: a schedule without a length takes the run's.

    Refuses a learning start that such a run does not reach.
    """
    budget = steps * config.transitions
    if config.learning_starts > budget:
        refuse("config.learning_starts", config.learning_starts, f"at most the run's environment steps, {budget}")
    return optim.complete_schedule(config.schedule, hparams, steps * config.updates)


def divided(config: Config) -> dict[str, int]:
    """Fields that devices divide among themselves, one at a time."""
    return {"envs": 1, "batch_size": 1, "evaluation_episodes": 1}
