"""Settings of the deep Q-network: static configuration and hyperparameters."""

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
    """Static settings, which fix shapes and programs; changing one recompiles."""

    environment: str = "CartPole-v1"
    """A gymnax environment with discrete actions: CartPole-v1, Acrobot-v1, Breakout-MinAtar, Catch-bsuite, ..."""
    envs: int = 10
    """Copies of the environment played in parallel."""
    collect: int = 1
    """Steps of each copy per training step."""
    updates: int = 1
    """Gradient updates per training step."""
    batch_size: int = 128
    """Transitions per update."""
    replay_size: int = 10_000
    """Replay buffer capacity in transitions, a multiple of envs."""
    learning_starts: int = 1_000
    """Environment steps before the first training step, a multiple of envs."""
    sampling: Sampling = "uniform"
    """Replay sampling: uniform, or prioritized by each transition's last error."""
    n_step: int = 1
    """Rewards summed before bootstrapping."""
    widths: tuple[int, ...] = (120, 84)
    """Hidden widths of the net."""
    channels: int = 16
    """Channels of a convolution before them if observations are images (H, W, C); 0: none."""
    activation: q.Activation = "relu"
    """Activation after every hidden layer."""
    dueling: bool = False
    """Separate value and advantage outputs."""
    double: bool = True
    """Double Q-learning: the online net selects the next action, the target net evaluates it; False: the target does
    both."""
    target_every: int = 1
    """Updates between target network updates."""
    loss: Loss = "huber"
    """Loss of the TD error: half its square, or huber, which is linear beyond 1."""
    clip_gradients: bool = True
    """Clip gradients to the global norm hparams.max_grad_norm."""
    optimizer: optim.Family = "adam"
    """Optimizer family; its hyperparameters are in hparams."""
    schedule: optim.Schedule = "constant"
    """Learning-rate schedule over hparams.schedule_steps."""
    epsilon_schedule: Fall = "linear"
    """Decay of epsilon from start to end: linear or exponential."""
    episodes: int = 0
    """Training episodes after which learning stops, and whose scores are kept; 0: no limit."""
    evaluation_episodes: int = 128
    """Fresh episodes per evaluation of the greedy policy."""
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
        """Environment steps per training step."""
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
    """Hyperparameters of the optimizer, the returns and exploration."""

    gamma: float = 0.99
    """Discount factor, in [0, 1]."""
    epsilon_start: float = 1.0
    """Initial exploration rate, in [0, 1]."""
    epsilon_end: float = 0.05
    """Final exploration rate, in [0, 1]."""
    epsilon_steps: float = 10_000.0
    """Environment steps over which epsilon decays, >= 1."""
    tau: float = 1.0
    """Target update rate, in (0, 1]; 1: copy the online net."""
    max_grad_norm: float = 10.0
    """Maximum gradient norm, > 0."""
    termination_reward: float = 0.0
    """Added to the reward of a terminating step (not of a truncating one)."""
    priority_exponent: float = 0.6
    """With sampling prioritized: 0 is uniform, 1 proportional to the error; in [0, 1]."""
    importance_exponent: float = 0.4
    """With sampling prioritized: strength of the importance-sampling correction, in [0, 1]."""
    schedule_steps: float = 0.0
    """Updates spanned by config.schedule; 0: the whole run."""


def validate(hparams: HParams, config: Config) -> None:
    """Refuse out-of-range hyperparameters and unplayable environments (`Config` checks the rest itself)."""
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
    """The hyperparameters for a run of `steps` steps: a schedule length of 0 becomes the run's.

    Refuses a `learning_starts` that the run does not reach.
    """
    budget = steps * config.transitions
    if config.learning_starts > budget:
        refuse("config.learning_starts", config.learning_starts, f"at most the run's environment steps, {budget}")
    return optim.complete_schedule(hparams, config, steps * config.updates)


def divided(config: Config) -> dict[str, int]:
    """Fields divided among devices, in units of one."""
    return {"envs": 1, "batch_size": 1, "evaluation_episodes": 1}
