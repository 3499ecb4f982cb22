"""CleanRL's dqn_jax.py from a checkout of its repository, at its own settings: the script itself, in a thread.

Changes, made in memory, so that it runs here and can be timed piece by piece:

* the loop over `range(args.total_timesteps)` gets its step numbers from us: first those of the exploration before
  `learning_starts`, then, for each measurement, stretches spread evenly over the rest of its 500,000 steps, so that
  random actions are as frequent as on average over its own schedule;
* gymnasium's `SyncVectorEnv` resets in the step that ends an episode and reports `final_observation`, as 0.29 did;
  episode statistics are dropped before they are printed;
* TensorBoard's writer is replaced by one that does nothing.
"""

import itertools
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from types import ModuleType
from typing import Any

import gymnasium
from benchmarks.peers import dqn_source


def trainer(folder: str, seeds: int, steps: int) -> Callable[[int], float]:
    """A function that makes n * `steps` environment steps and returns the seconds taken; one seed only."""
    if seeds != 1:
        raise ValueError("CleanRL's DQN trains one seed")
    asked: Queue[int] = Queue()
    answered: Queue[float | BaseException] = Queue()

    def step_numbers(total: int) -> Iterator[int]:
        yield from range(learning_starts := module["args"].learning_starts + 1)
        places = itertools.cycle(range(learning_starts // steps + 1, total // steps))
        stride = 37  # coprime to the number of places, so all are visited, early and late ones in turn
        answered.put(0.0)
        while True:
            count = asked.get()
            began = time.perf_counter()
            for _ in range(count):
                at = next(itertools.islice(places, stride - 1, None)) * steps
                yield from range(at, at + steps)
            answered.put(time.perf_counter() - began)

    def train() -> None:
        try:
            exec(code, module)
        except BaseException as error:
            answered.put(error)

    def run(count: int) -> float:
        asked.put(count)
        return _result(answered)

    code, module = script(Path(folder), step_numbers)
    threading.Thread(target=train, daemon=True).start()
    _result(answered)
    return run


def script(folder: Path, step_numbers: Callable[[int], Iterator[int]], seed: int = 1) -> tuple[Any, dict[str, Any]]:
    """The script's code, whose steps are those that `step_numbers(total)` yields, and the names to execute it with."""
    source = dqn_source.read(
        folder / "cleanrl" / "dqn_jax.py", {"range(args.total_timesteps)": "step_numbers(args.total_timesteps)"}
    )
    _prepare(folder, seed)
    names = {"__name__": "__main__", "__file__": "dqn_jax.py", "step_numbers": step_numbers}
    return compile(source, "dqn_jax.py", "exec"), names


def _result(answered: "Queue[float | BaseException]") -> float:
    answer = answered.get()
    if isinstance(answer, BaseException):
        raise answer
    return answer


def _prepare(folder: Path, seed: int) -> None:
    sys.path.insert(0, str(folder))
    sys.argv = ["dqn_jax.py", "--seed", str(seed)]
    tensorboard = ModuleType("torch.utils.tensorboard")
    tensorboard.SummaryWriter = _SilentWriter  # type: ignore[attr-defined]
    sys.modules["torch.utils.tensorboard"] = tensorboard
    gymnasium.vector.SyncVectorEnv = _SameStepReset


class _SilentWriter:
    def __init__(self, folder: str) -> None: ...

    def add_text(self, *args: Any) -> None: ...

    def add_scalar(self, *args: Any) -> None: ...

    def close(self) -> None: ...


class _SameStepReset(gymnasium.vector.SyncVectorEnv):
    def __init__(self, env_fns: Any) -> None:
        super().__init__(env_fns, autoreset_mode=gymnasium.vector.AutoresetMode.SAME_STEP)

    def step(self, actions: Any) -> tuple[Any, ...]:
        *results, infos = super().step(actions)
        infos.pop("final_info", None)
        if "final_obs" in infos:
            infos["final_observation"] = infos.pop("final_obs")
        return *results, infos
