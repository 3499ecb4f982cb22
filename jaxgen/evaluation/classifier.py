"""A small classifier of a data set, whose features score samples: no download, no Inception.

jaxgen ships one for MNIST, digits and petals (`features/`), so that two machines get the same scores. For other data
sets one is trained and cached on this machine. Scores compare generators only under the same weights, identified by
their SHA-256; to compare across machines, share the file. They are not comparable with scores from other features.
"""

import hashlib
import json
import os
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, UInt8
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from jaxgen.batching import map_batches
from jaxgen.data.dataset import Dataset
from jaxgen.errors import UserError
from jaxgen.nets.classifier import Classifier as Net

FORMAT = "2"
"""Incremented when the net, its training or the meaning of a file changes; older files are then refused."""
UPDATES = 1000
BATCH = 128
SEED = 0
SHIPPED = Path(__file__).parent / "features"
SCALE = "feature_scale"
"""Stored with the weights: root mean square of the features on the training split, by which features are divided."""


class Classifier(NamedTuple):
    """A trained classifier and the facts to report with its scores."""

    params: Any
    """Rounded to float16, stored as float32."""
    name: str
    """Data set it was trained on."""
    version: str
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    accuracy: float | None
    """Accuracy on that data set's test split; None if the split has no labels."""
    updates: int
    """Training steps."""
    sha256: str = ""
    """Of the weights and of everything above."""
    origin: Literal["shipped", "given", "trained"] = "trained"
    path: Path | None = None
    """Its file; None if it could not be written."""

    def features_and_classes(self, images: Array) -> tuple[Float[np.ndarray, "n d"], Int[np.ndarray, " n"]]:
        """Features and predicted classes of images (N, H, W, C), bytes or in [0, 1].

        Float32 throughout, by the platform's own convolutions, so that machines differ by rounding only. Features are
        scaled so that their mean square on the training split is 1.
        """
        features, logits = _apply_all(self.params, images, len(self.class_names))
        return np.asarray(features), np.asarray(logits).argmax(-1)


def _normalized(images: Array) -> Array:
    return (images.astype(jnp.float32) / 255 if images.dtype == jnp.uint8 else images) - 0.5


@partial(jax.jit, static_argnames="classes")
def _apply_all(params: Any, images: Array, classes: int) -> tuple[Array, Array]:
    """Scaled features and logits of any number of images."""

    def of_batch(part: Array) -> tuple[Array, Array]:
        outputs: Any = Net(classes, plain=True).apply({"params": params}, _normalized(part))
        return outputs[0] / params[SCALE], outputs[1]

    return map_batches(of_batch, images)


def _shift(images: Array, key: Array, pad: int) -> Array:
    """The batch shifted by up to `pad` pixels each way, so that the classifier does not rely on positions."""
    height, width = images.shape[1:3]
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    down, right = jax.random.randint(key, (2,), 0, 2 * pad + 1)
    return lax.dynamic_slice(padded, (0, down, right, 0), (images.shape[0], height, width, images.shape[3]))


@partial(jax.jit, static_argnames=("classes", "updates", "batch"))
def _fit(
    key: Array, images: UInt8[Array, "n h w c"], labels: Int[Array, " n"], classes: int, updates: int, batch: int
) -> Any:
    """Minimize the cross-entropy with Adam and a cosine learning rate; batches are drawn with replacement."""
    net = Net(classes)
    optimizer = optax.adam(optax.cosine_decay_schedule(2e-3, updates))
    init_key, key = jax.random.split(key)
    params = net.init(init_key, jnp.zeros((1, *images.shape[1:])))["params"]
    pad = max(1, images.shape[1] // 14)

    def loss(params: Any, x: Array, y: Array) -> Array:
        outputs: Any = net.apply({"params": params}, x)
        return optax.softmax_cross_entropy_with_integer_labels(outputs[1], y).mean()

    def update(carry: Any, key: Array) -> tuple[Any, None]:
        params, state = carry
        index_key, shift_key = jax.random.split(key)
        index = jax.random.randint(index_key, (batch,), 0, images.shape[0])
        x = _shift(_normalized(images[index]), shift_key, pad)
        changes, state = optimizer.update(jax.grad(loss)(params, x, labels[index]), state)
        return (optax.apply_updates(params, changes), state), None

    (params, _), _ = lax.scan(update, (params, optimizer.init(params)), jax.random.split(key, updates))
    return params


def train(dataset: Dataset, updates: int = UPDATES, seed: int = SEED) -> Classifier:
    """A classifier trained on the training split, with its accuracy on the test split."""
    classes = len(dataset.class_names)
    if classes < 2:
        raise UserError(f"{dataset.name} has no classes to train a classifier on: its samples cannot be judged so")
    images, labels = dataset.train.images, dataset.train.labels
    params = _fit(jax.random.key(seed), images, labels, classes, updates, min(BATCH, len(labels)))
    params = jax.tree.map(lambda x: x.astype(jnp.float16).astype(jnp.float32), params)
    features, _ = _apply_all({**params, SCALE: jnp.float32(1)}, images, classes)
    scale = np.sqrt(np.square(np.asarray(features, np.float64)).mean())
    params = {**params, SCALE: jnp.float32(np.float16(scale))}
    unscored = Classifier(
        params, dataset.name, dataset.version, dataset.class_names, dataset.image_shape, None, updates
    )
    tested = np.asarray(dataset.test.labels)
    if (tested >= 0).all():
        _, taken_for = unscored.features_and_classes(dataset.test.images)
        unscored = unscored._replace(accuracy=float((taken_for == tested).mean()))
    return unscored._replace(sha256=_sha256(_tensors(params), _header(unscored)))


# Files: the tensors as float16, all else as text in the safetensors header.


def _tensors(params: Any) -> dict[str, np.ndarray]:
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf, np.float16) for path, leaf in leaves
    }


def _header(classifier: Classifier) -> dict[str, str]:
    """Metadata of a classifier besides its weights, each value as JSON."""
    about = {name: getattr(classifier, name) for name in ABOUT}
    return {"jaxgen_features": FORMAT, **{name: json.dumps(value) for name, value in about.items()}}


ABOUT = ("name", "version", "class_names", "image_shape", "accuracy", "updates")


def _sha256(tensors: dict[str, np.ndarray], header: dict[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}{tensor.dtype}{tensor.shape}".encode())
        digest.update(np.ascontiguousarray(tensor).tobytes())
    return digest.hexdigest()


def write(path: Path, classifier: Classifier) -> None:
    """Write the classifier to a safetensors file, atomically."""
    content = save(_tensors(classifier.params), {**_header(classifier), "sha256": classifier.sha256})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> Classifier:
    """Read the classifier in a file; a missing, damaged or unrelated file raises a `UserError`."""
    try:
        with safe_open(path, framework="numpy") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (OSError, SafetensorError) as error:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else str(error).splitlines()[0]
        raise UserError(f"features {path} cannot be read: {reason}") from error
    if "jaxgen_features" not in header:
        raise UserError(f"features {path} is not a feature net of jaxgen: experiments/train_features.py makes one")
    if header["jaxgen_features"] != FORMAT:
        raise UserError(
            f"features {path} has format {header['jaxgen_features']}, this jaxgen reads {FORMAT}: "
            "make it again with experiments/train_features.py"
        )
    sha256 = header.pop("sha256", "")
    if _sha256(tensors, header) != sha256:
        raise UserError(f"features {path} is damaged (its SHA-256 is not the recorded one): copy or make it again")
    about = {name: json.loads(header[name]) for name in ABOUT}
    about |= {name: tuple(about[name]) for name in ("class_names", "image_shape")}
    like = _like(about["image_shape"], len(about["class_names"]))
    params = jax.tree.unflatten(
        jax.tree.structure(like), [jnp.asarray(tensors[name], jnp.float32) for name in _tensors(like)]
    )
    return Classifier(params, **about, sha256=sha256, origin="given", path=path)


def _like(image_shape: tuple[int, int, int], classes: int) -> Any:
    shapes = jax.eval_shape(Net(classes).init, jax.random.key(0), jnp.zeros((1, *image_shape)))["params"]
    return {**jax.tree.map(lambda x: np.zeros(x.shape), shapes), SCALE: np.zeros(())}


# The choice of a classifier for a data set.


def _stem(dataset: Dataset) -> str:
    return dataset.name.replace("/", "-").replace(":", "-")


def shipped(dataset: Dataset) -> Classifier | None:
    """The classifier shipped with jaxgen for exactly this data set, None if there is none."""
    path = SHIPPED / f"{_stem(dataset)}.safetensors"
    if not path.is_file():
        return None
    found = read(path)
    same = all(
        getattr(found, field) == getattr(dataset, field) for field in ("name", "version", "class_names", "image_shape")
    )
    return found._replace(origin="shipped") if same else None


def given(path: Path, dataset: Dataset) -> Classifier:
    """The classifier in a file, which must match the images and class names of the data set."""
    found = read(path)
    if found.image_shape != dataset.image_shape:
        raise UserError(
            f"features {path} judges images of {found.image_shape}, {dataset.name} has {dataset.image_shape}"
        )
    if found.class_names != dataset.class_names:
        theirs, ours = ", ".join(found.class_names), ", ".join(dataset.class_names)
        raise UserError(f"features {path} knows the classes {theirs}; {dataset.name} has {ours}")
    return found


def cached_path(dataset: Dataset, updates: int, seed: int = SEED) -> Path:
    """Path of the classifier that this machine trained for a data set."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jaxgen" / "classifiers"
    what = (FORMAT, dataset.name, dataset.version, dataset.image_shape, dataset.class_names, updates, seed)
    return folder / f"{_stem(dataset)}-{hashlib.sha256(repr(what).encode()).hexdigest()[:12]}.safetensors"


def _trained_here(dataset: Dataset, updates: int) -> Classifier:
    """The cached classifier; if missing or damaged, trained and cached. A full disk costs another training."""
    path = cached_path(dataset, updates)
    try:
        return read(path)._replace(origin="trained")
    except UserError:
        made = train(dataset, updates)
    try:
        write(path, made)
    except OSError:
        return made
    return made._replace(path=path)


def load(dataset: Dataset, path: Path | None = None, updates: int | None = None) -> Classifier:
    """The classifier in the file `path`, else the one shipped for the data set, else one trained on this machine.

    `updates` requests one trained on this machine for that many steps.
    """
    if path is not None:
        return given(path, dataset)
    found = shipped(dataset) if updates is None else None
    return found or _trained_here(dataset, UPDATES if updates is None else updates)
