"""DQN on CartPole in PyTorch with the settings of jaxgen's preset solve, as a careful user would write it.

Ten gymnasium environments, replay in NumPy arrays, 10-step returns, and one thread, which suits these nets best.
"""

import copy
from collections import deque
from typing import Any

import gymnasium
import numpy as np
import torch
from benchmarks.peers import tasks
from torch import nn

ENVS, CAPACITY, STARTS, BATCH, UPDATES, TARGET_EVERY = 10, 10_000, 5_000, 64, 2, 100
STEPS, EVERY, N, GAMMA = 10_000, 500, 10, 0.99
"""Training steps and those between evaluations; steps of a return, and the discount."""
RATE, EPSILON_END, EPSILON_STEPS = 5e-4, 0.02, 50_000


class Replay:
    """A ring of transitions over N steps."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng, self.at, self.size = rng, 0, 0
        self.seen, self.following = (np.zeros((CAPACITY, 4), np.float32) for _ in range(2))
        self.action, self.returned = np.zeros(CAPACITY, np.int64), np.zeros(CAPACITY, np.float32)
        self.discount = np.zeros(CAPACITY, np.float32)
        """Of the following state's value: gamma to the number of rewards, 0 after a termination."""

    def add(self, seen: Any, action: Any, returned: float, following: Any, discount: float) -> None:
        """Store one transition."""
        i = self.at
        self.seen[i], self.action[i], self.returned[i] = seen, action, returned
        self.following[i], self.discount[i] = following, discount
        self.at, self.size = (i + 1) % CAPACITY, min(self.size + 1, CAPACITY)

    def sample(self) -> list[torch.Tensor]:
        """A random batch."""
        chosen = self.rng.integers(self.size, size=BATCH)
        fields = (self.seen, self.action, self.returned, self.following, self.discount)
        return [torch.from_numpy(field[chosen]) for field in fields]


class Player:
    """The environments, and the last N steps of each."""

    def __init__(self, seed: int, replay: Replay) -> None:
        mode = gymnasium.vector.AutoresetMode.SAME_STEP
        make = [lambda: gymnasium.make("CartPole-v1") for _ in range(ENVS)]
        self.envs = gymnasium.vector.SyncVectorEnv(make, autoreset_mode=mode)
        self.seen, _ = self.envs.reset(seed=seed)
        self.replay, self.steps = replay, 0
        self.recent: list[deque[Any]] = [deque() for _ in range(ENVS)]

    def play(self, net: nn.Module, rng: np.random.Generator) -> None:
        """One step of every environment, epsilon-greedy."""
        epsilon = max(EPSILON_END, 1 - (1 - EPSILON_END) * self.steps / EPSILON_STEPS)
        actions = greedy(net, self.seen)
        random = rng.random(ENVS) < epsilon
        actions[random] = rng.integers(2, size=int(random.sum()))
        seen, rewards, terminated, truncated, infos = self.envs.step(actions)
        ended = terminated | truncated
        for i, recent in enumerate(self.recent):
            last = infos["final_obs"][i] if ended[i] else seen[i]
            recent.append((self.seen[i], actions[i], rewards[i]))
            if ended[i]:
                while recent:
                    self._store(recent, last, bool(terminated[i]))
            elif len(recent) == N:
                self._store(recent, last, False)
        self.seen, self.steps = seen, self.steps + ENVS

    def _store(self, recent: "deque[Any]", last: np.ndarray, terminated: bool) -> None:
        returned = sum(GAMMA**k * reward for k, (_, _, reward) in enumerate(recent))
        discount = 0.0 if terminated else GAMMA ** len(recent)
        seen, action, _ = recent.popleft()
        self.replay.add(seen, action, returned, last, discount)


@torch.no_grad()
def greedy(net: nn.Module, seen: np.ndarray) -> np.ndarray:
    """Actions of the largest value."""
    return net(torch.as_tensor(seen, dtype=torch.float32)).argmax(1).numpy()


def solve(seed: int, folder: str, steps: int = STEPS) -> dict[str, Any]:
    """Train until the mean return of 100 fresh greedy episodes is enough, tried every 5,000 steps of the game."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    target = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, eps=1e-7)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, STEPS * UPDATES)
    replay = Replay(rng)
    player = Player(seed, replay)
    while player.steps < STARTS:
        player.play(net, rng)
    updates, value = 0, 0.0
    for step in range(1, steps + 1):
        player.play(net, rng)
        for _ in range(UPDATES):
            update(net, target, optimizer, replay)
            schedule.step()
            updates += 1
            if updates % TARGET_EVERY == 0:
                target.load_state_dict(net.state_dict())
        if step % EVERY == 0:
            value = float(tasks.greedy_returns(lambda seen: greedy(net, seen), seed + step).mean())
            if value >= tasks.RETURN:
                break
    return {"value": value, "reached": value >= tasks.RETURN, "steps": step}


def update(net: nn.Module, target: nn.Module, optimizer: torch.optim.Optimizer, replay: Replay) -> None:
    """One step on half the squared error."""
    seen, action, returned, following, discount = replay.sample()
    with torch.no_grad():
        wanted = returned + discount * target(following).max(1).values
    value = net(seen).gather(1, action[:, None])[:, 0]
    loss = 0.5 * ((value - wanted) ** 2).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
