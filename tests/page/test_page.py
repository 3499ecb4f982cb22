"""Pages of tiny runs: what they hold, and, in headless Chromium, that what they draw is what JAX computes."""

import importlib
import json
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from accessibility import violations
from browser import drive
from elements import Elements
from PIL import Image

from jaxgen.algorithms import autoencoder, dqn, gan, vae
from jaxgen.contract import DataFacts
from jaxgen.data.dataset import Dataset, Split
from jaxgen.errors import SettingError, UserError
from jaxgen.export import javascript
from jaxgen.export.functions import Function
from jaxgen.page import document, facts, models, noise, pictures, several, single
from jaxgen.report.figures import COLORS
from jaxgen.runs.fit import fit
from jaxgen.runs.load import load
from jaxgen.runs.run import Run
from jaxgen.runs.settings import of_run, settings_from


def images():
    rng = np.random.default_rng(0)
    pixels = (255 * rng.random((60, 8, 8, 1)) ** 3).astype(np.uint8)
    labels = (np.arange(60) % 3).astype(np.int32)
    return Dataset("toy", "1", Split(pixels[:40], labels[:40]), Split(pixels[40:], labels[40:]), ("a", "b", "c"))


CONFIGS = {
    "ae": (autoencoder, autoencoder.Config(image_shape=(8, 8, 1), widths=(8,), code_size=3, batch_size=8)),
    "vae": (vae, vae.Config(image_shape=(8, 8, 1), widths=(8,), latent_size=2, batch_size=8)),
    "full": (vae, vae.Config(image_shape=(8, 8, 1), widths=(8,), latent_size=4, posterior="full", batch_size=8)),
    "gan": (
        gan,
        gan.Config(
            image_shape=(8, 8, 1), noise_size=4, generator_widths=(8,), discriminator_widths=(8,), classes=3,
            batch_size=8,
        ),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of each kind, one of them with three seeds."""
    root = tmp_path_factory.mktemp("runs")
    for name, (algorithm, config) in CONFIGS.items():
        many = {"seed": [0, 1, 2]} if name == "full" else {}
        fit(
            algorithm,
            config=config,
            data=images(),
            epochs=4,
            progress=False,
            log_every=2,
            directory=root / name,
            **many,
        )
    sizes = {"batch_size": 4, "replay_size": 64, "learning_starts": 8, "evaluation_episodes": 2, "steps_per_epoch": 20}
    fit(dqn, config=dqn.Config(envs=2, widths=(8,), **sizes), epochs=1, progress=False, directory=root / "dqn")
    (root / "vae" / "figures").mkdir(exist_ok=True)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(root / "vae" / "figures" / "loss.png")
    return root


@pytest.fixture(scope="module")
def pages(runs, tmp_path_factory):
    """The page of each run."""
    folder = tmp_path_factory.mktemp("pages")
    for name in (*CONFIGS, "dqn"):
        data = None if name == "dqn" else images()
        single.write(runs / name, folder / f"{name}.html", dataset=data)
    several.write({"ae": runs / "ae", "vae": runs / "vae", "full": runs / "full"}, folder / "several.html")
    return folder


@pytest.mark.parametrize("name", [*CONFIGS, "dqn", "several"])
def test_a_page_loads_nothing_and_names_its_parts(pages, name):
    text = (pages / f"{name}.html").read_text()
    elements = Elements(text)
    assert all(source.startswith("data:") for source in elements.sources())
    assert "@import" not in text
    assert not re.search(r"url\(", text)
    (policy,) = [one["content"] for one in elements.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert all(one.get("alt") for one in elements.of("img"))
    ids = [one["id"] for _, one in elements.all if "id" in one]
    assert len(ids) == len(set(ids))
    assert {one["aria-labelledby"] for one in elements.of("section")} <= set(ids)
    assert elements.of("html") == [{"lang": "en"}]
    assert len(elements.of("h1")) == 1
    assert len(elements.of("main")) == 1


def test_a_page_tells_nothing_of_its_machine(runs, pages, tmp_path):
    for name in (*CONFIGS, "dqn", "several"):
        assert str(runs) not in (pages / f"{name}.html").read_text()
    copied = facts.read(runs / "vae")
    words = "python /home/me/repo/experiments/vae_mnist.py --run.root=/home/me/runs --data.data-dir /mnt/d --run.name x"
    session = {**copied.sessions[0], "command": f"{words} --data.path /photos"}
    command = facts.public(facts.command(copied._replace(sessions=[session])))
    assert command == "python experiments/vae_mnist.py --run.name x --data.path=PATH"


def test_the_head(runs, pages):
    text = (pages / "full.html").read_text()
    found = facts.read(runs / "full")
    value = found.entry.value
    assert found.entry.objective == "test/negative_elbo"
    assert f"{value.value:.4g} ± {value.error:.2g} (mean and standard error of 3 members)" in text
    head = facts.head(found)
    assert head["Seed"] == "3 seeds: 0, 1, 2"
    assert head["Data"] == "toy 1: 40 training and 20 test images of 8x8x1"
    assert head["Trained for"] == "20 steps (4 epochs)"
    assert "one with seed 0" in text
    assert "jax " in head["Versions"]


def test_settings_that_differ_are_marked(runs):
    record = facts.read(runs / "vae").record
    preset = of_run(settings_from(record["settings"], vae))
    assert not any(before for _, _, before in facts.settings(record, preset))
    preset["hparams"]["learning_rate"] = 0.5
    changed = {name: (value, before) for name, value, before in facts.settings(record, preset) if before}
    assert changed == {"hparams.learning_rate": ("0.001", "0.5")}
    text = single.text(runs / "vae", preset=preset)
    assert text.count('<tr class="changed">') == 1
    assert "1 setting differs" in text


def test_series_have_means_errors_and_gaps(runs, tmp_path):
    found = facts.read(runs / "full")
    rows = [{"step": 1, "a/x": [1.0, 3.0]}, {"step": 2, "a/x": [None, None]}, {"step": 3, "a/x": [2.0, None]}]
    line = facts.series(found._replace(rows=[*rows, {"step": 4, "a/x": [1.0, 1.0], "partial": True}]))["a/x"]
    assert line["steps"] == [1, 2, 3]
    assert line["values"] == [2.0, None, 2.0]
    assert line["errors"] == [1.0, None, None]
    assert line["members"] == 2


def test_a_page_without_data_and_with_a_bad_state(runs, tmp_path, capsys):
    text = single.text(runs / "vae")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    assert data["model"]["labels"] == []
    assert "sprites" not in data["model"]
    assert "the page shows no test images" not in capsys.readouterr().err


def test_weights_of_twelve_bits(runs):
    exact, small = (single.text(runs / "ae", dataset=images(), compact=one) for one in (False, True))
    assert len(small) < len(exact)
    assert re.search("stored in 1[02] bits each", small)
    assert "single precision" in exact


def test_fewer_bits_are_chosen_only_where_they_are_not_seen(runs, monkeypatch):
    found, pixels = models.functions_of(load(runs / "vae")), images().test.images
    limits = {"decode": 1 / 255, "encode": 0.005, "terms": 0.05}
    assert models.script(found, limits, False, pixels).stored == models.SINGLE
    monkeypatch.setattr(models, "LARGE", 10)
    script = models.script(found, limits, False, pixels)
    said = re.fullmatch(
        r"Weights are stored in (\d+) bits each, which changes outputs of decode by at most (\S+), of encode by at "
        r"most (\S+), of terms by at most (\S+) over 32 inputs\.",
        script.stored,
    )
    rounded = javascript.rounded(found["encode"].weights, f"int{said[1]}")
    encode = found["encode"].call
    changes = [
        np.abs(np.asarray(a) - b).max()
        for one in jnp.asarray(pixels, jnp.float32) / 255
        for a, b in zip(
            jax.tree.leaves(encode(found["encode"].weights, one[None])),
            jax.tree.leaves(encode(rounded, one[None])),
            strict=True,
        )
    ]
    assert float(said[3]) == pytest.approx(max(changes), rel=0.2)
    assert "encode" not in models.script(found, limits, False).stored  # no images to judge it by
    tight = {**limits, "decode": float(said[2]) / 1.5}
    finer = models.script(found, tight, False, pixels)
    assert f"{int(said[1]) + 1} bits" in finer.stored
    whole = models.script(found, {"decode": 0.0}, False)
    assert "16 bits would be seen" in whole.stored
    assert script.size < finer.size < whole.size


def test_directions_are_those_that_change_images_most():
    directions = np.linalg.qr(np.random.default_rng(0).normal(size=(6, 6)))[0]
    strengths = np.array([5.0, 3.0, 1.0, 0.1, 0.1, 0.1])
    shape = jax.ShapeDtypeStruct((1, 6), jnp.float32)
    weights = jnp.asarray(
        directions * strengths[:, None] @ np.eye(6), jnp.float32
    )  # row i: strength i along direction i
    linear = Function(lambda w, z: z @ w.T, weights, {"noise": shape})
    found, shares = noise.principal_directions(linear, 4_096)
    np.testing.assert_allclose(found @ found.T, np.eye(6), atol=1e-6)
    for i in range(3):
        assert abs(found[i] @ directions[i]) > 0.99
    np.testing.assert_allclose(shares[:2], strengths[:2] ** 2 / (strengths**2).sum(), atol=0.03)


def test_figures_are_embedded_smaller_with_captions(tmp_path):
    rng = np.random.default_rng(0)
    pixels = np.full((300, 400, 3), 255, np.uint8)
    pixels[50:250, 50:350] = rng.integers(0, 256, (200, 300, 3))
    Image.fromarray(pixels).save(tmp_path / "manifold.png")
    frames = [Image.fromarray(np.full((40, 40, 3), 60 * i, np.uint8)) for i in range(4)]
    frames[0].save(tmp_path / "pole.gif", save_all=True, append_images=frames[1:], duration=[40, 40, 40, 900])
    (tmp_path / "broken.png").write_bytes(b"no picture")
    found = pictures.figures(tmp_path)
    assert [one.name for one in found] == ["pole", "manifold"]
    assert found[0].moves
    assert found[1].caption.startswith("What the decoder draws")
    assert len(found[1].uri) < (tmp_path / "manifold.png").stat().st_size * 4 / 3


def test_text_cannot_leave_its_element():
    assert "</script>" not in document.embedded({"x": "</script><b>"})
    assert json.loads(document.embedded({"x": "</script>"})) == {"x": "</script>"}
    assert "&lt;b&gt;" in document.top("<b>", "")
    assert "&lt;b&gt;" in document.table(("a", "b"), [("<b>", "<b>")])


def change(path, name, value):
    record = json.loads(path.read_text())
    path.write_text(json.dumps({key: one for key, one in record.items() if key != "sha256"} | {name: value}))


@pytest.mark.parametrize(
    ("file", "damage", "said"),
    [
        ("settings.json", lambda path: path.unlink(), "is not a run directory"),
        ("settings.json", lambda path: path.write_text("{"), r"settings\.json is damaged"),
        ("settings.json", lambda path: path.write_bytes(b"\xff" * 9), r"settings\.json is damaged"),
        ("settings.json", lambda path: change(path, "algorithm", 7), r"settings\.json is damaged \(algorithm is 7\)"),
        ("settings.json", lambda path: change(path, "data", {}), r"settings\.json is damaged"),
        ("sessions.json", lambda path: path.write_text("{}"), None),
        ("sessions.json", lambda path: path.unlink(), None),
        ("metrics.jsonl", lambda path: path.write_bytes(b"\xff\n" * 9), None),
        ("result.json", lambda path: path.write_text("[]"), None),
    ],
)
def test_a_damaged_run_is_one_line_or_a_page_of_the_rest(runs, tmp_path, file, damage, said):
    copy = tmp_path / "run"
    shutil.copytree(runs / "vae", copy, ignore=shutil.ignore_patterns("checkpoints"))
    damage(copy / file)
    if said is None:
        assert "The model cannot be shown at work" in single.text(copy)
        return
    with pytest.raises(UserError, match=said) as error:
        single.text(copy)
    assert "\n" not in str(error.value)


def test_what_a_comparison_refuses(runs):
    with pytest.raises(SettingError, match="2 to 6 different runs, not 1"):
        several.text({"one": runs / "vae"})


def test_a_comparison(runs, pages):
    text = (pages / "several.html").read_text()
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    titles = [chart["title"] for chart in data["charts"]]
    assert titles[0].startswith("test/")
    (both,) = [chart for chart in data["charts"] if chart["title"] == "test/negative_elbo"]
    assert [line["name"] for line in both["lines"]] == ["vae", "full"]
    assert "errors" in both["lines"][1]
    assert "config.posterior" in text


# CIE76 distances of colors as protanopes and deuteranopes see them (Machado et al., 2009).

SEEN = {
    "all": np.eye(3),
    "protanopes": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopes": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])


def lab(linear):
    xyz = np.clip(linear, 0, 1) @ XYZ.T / XYZ.sum(axis=1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)


@pytest.mark.parametrize("eyes", SEEN)
def test_class_colors_are_told_apart(eyes):
    srgb = np.array([[int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)] for color in COLORS])
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    colors = lab(linear @ np.array(SEEN[eyes]).T)
    distances = np.linalg.norm(colors[:, None] - colors[None], axis=-1) + 1e3 * np.eye(len(colors))
    assert distances.min() > 30


# In Chromium.

chromium = pytest.mark.slow


def gray(found):
    """The pixels of a canvas, (n,) bytes."""
    rows = np.array(found).reshape(-1, 4)
    assert (rows[:, 0] == rows[:, 1]).all()
    return rows[:, 0]


def same_pixels(found, wanted):
    np.testing.assert_allclose(gray(found), np.round(255 * np.asarray(wanted).reshape(-1)), atol=1)


@chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", [*CONFIGS, "dqn", "several"])
def test_every_page_opens_on_a_phone(pages, tmp_path, name, dark):
    body = "await wait(300); return { dark: isDark(), charts: page.charts.length, alive: !!page.model };"
    found = drive(pages / f"{name}.html", body, tmp_path, width=500, dark=dark)
    assert found["dark"] == dark
    assert found["charts"] >= 2
    assert found["alive"] == (name != "several")


@chromium
@pytest.mark.parametrize("name", ["ae", "vae", "full"])
def test_sliders_and_dragging_decode(runs, pages, tmp_path, name):
    body = """
    const image = document.getElementById("decoded"), moved = [];
    page.data.model.ranges.forEach(([low, high], i) =>
      moved.push(move(`latent-${i + 1}`, low + (0.7 - 0.1 * i) * (high - low))));
    await wait(200);
    const slid = { moved, code: Array.from(page.view.code), pixels: pixels(image) };
    press(document.getElementById("plane"), [[0.3, 0.3], [0.7, 0.2]]);
    await wait(200);
    const dragged = { code: Array.from(page.view.code), pixels: pixels(image) };
    move("along", 0.5);
    await wait(200);
    const half = { code: Array.from(page.view.code), pixels: pixels(image), ends: page.view.ends };
    document.getElementById("behind").click();
    await until(() => page.view.cells);
    return { slid, dragged, half, ranges: page.data.model.ranges, axes: page.view.axes };
    """
    found = drive(pages / f"{name}.html", body, tmp_path)
    run = load(runs / name)
    run = run if run.members is None else run.member(0)
    latents = CONFIGS[name][1].code_size if name == "ae" else CONFIGS[name][1].latent_size
    low, high = np.array(found["ranges"]).T
    np.testing.assert_allclose(found["slid"]["code"], low + (0.7 - 0.1 * np.arange(latents)) * (high - low), atol=0.02)
    np.testing.assert_allclose(found["slid"]["code"], found["slid"]["moved"], atol=1e-6)
    for part in ("slid", "dragged"):
        same_pixels(found[part]["pixels"], run.decode(jnp.asarray([found[part]["code"]]))[0])
    for side, share in enumerate((0.7, 0.8)):
        low, high = found["ranges"][found["axes"][side]]
        assert found["dragged"]["code"][found["axes"][side]] == pytest.approx(low + share * (high - low), abs=0.02)
    ends = jnp.asarray(images().test.images[np.array(found["half"]["ends"])])
    codes = np.asarray(run.encode(ends)) if name == "ae" else _means(run, ends)
    np.testing.assert_allclose(found["half"]["code"], codes.mean(axis=0), atol=1e-4)
    same_pixels(found["half"]["pixels"], run.decode(jnp.asarray(codes.mean(axis=0))[None])[0])


def _means(run, pixels):
    encode = models.functions_of(run)["encode"]
    return np.asarray(encode.call(encode.weights, jnp.asarray(pixels, jnp.float32) / 255)["mean"])


@chromium
@pytest.mark.parametrize("name", ["ae", "vae", "full"])
def test_a_drawn_image_is_encoded_and_rebuilt(runs, pages, tmp_path, name):
    body = """
    document.querySelectorAll("button").forEach((one) => one.textContent === "Clear" && one.click());
    press(document.getElementById("pad"), [[0.2, 0.2], [0.8, 0.3], [0.4, 0.9]]);
    await wait(400);
    const { mean, deviation } = page.view.posterior;
    return {
      drawn: Array.from(page.view.pad.pixels), mean: Array.from(mean), deviation,
      shown: pixels(document.getElementById("rebuilt")),
      numbers: Array.from(page.view.numbers.querySelectorAll("b")).map((one) => Number(one.textContent)),
    };
    """
    found = drive(pages / f"{name}.html", body, tmp_path)
    drawn = jnp.asarray(found["drawn"], jnp.float32).reshape(1, 8, 8, 1)
    assert 5 < float(drawn.sum()) < 50
    run = load(runs / name)
    run = run if run.members is None else run.member(0)
    functions = models.functions_of(run)
    encoded = functions["encode"].call(functions["encode"].weights, drawn)
    mean = encoded if name == "ae" else encoded["mean"]
    np.testing.assert_allclose(found["mean"], mean[0], atol=1e-4)
    same_pixels(found["shown"], run.decode(mean)[0])
    if name == "ae":
        assert found["deviation"] is None
        return
    scale = encoded["scale"][0]
    wanted = scale if scale.ndim == 1 else jnp.linalg.norm(scale, axis=1)
    np.testing.assert_allclose(found["deviation"], wanted, atol=1e-4)
    terms = functions["terms"]
    rng = np.random.default_rng(0).normal(size=(200, 1, mean.shape[1])).astype(np.float32)
    values = [terms.call(terms.weights, drawn, jnp.asarray(one)) for one in rng]
    distortions = np.array([float(one["distortion"][0]) for one in values])
    assert found["numbers"][1] == pytest.approx(float(values[0]["rate"][0]), abs=0.06)
    assert abs(found["numbers"][0] - distortions.mean()) < 5 * distortions.std() / 8**0.5 + 0.06


@chromium
def test_noise_moves_along_directions_and_classes(runs, pages, tmp_path):
    body = """
    document.querySelector('[data-class="2"]').click();
    const value = move("direction-1", 1.5);
    await wait(300);
    const found = {
      value, noise: Array.from(page.view.noise), along: page.view.along(0),
      pixels: pixels(document.getElementById("generated")),
      logit: page.view.meter.node.querySelector("b").textContent,
      near: page.view.neighbors.found, slots: page.view.neighbors.slots.map((one) => one.text.textContent),
      drawn: pixels(page.view.neighbors.slots[0].canvas),
    };
    document.getElementById("walk").click();
    await until(() => Math.abs(page.view.noise[0] - found.noise[0]) > 0.02);
    document.getElementById("walk").click();
    found.walked = Array.from(page.view.noise);
    return found;
    """
    found = drive(pages / "gan.html", body, tmp_path)
    assert found["along"] == pytest.approx(1.5, abs=0.01)
    assert np.abs(np.array(found["walked"]) - found["noise"]).max() > 0.01
    functions = models.functions_of(load(runs / "gan"))
    noise, classes = jnp.asarray([found["noise"]], jnp.float32), jnp.asarray([[0.0, 0.0, 1.0]])
    image = functions["generate"].call(functions["generate"].weights, noise, classes)
    same_pixels(found["pixels"], image[0])
    train = images().train
    distances = np.sqrt(((train.images / 255 - np.asarray(image)) ** 2).mean(axis=(1, 2, 3)))
    assert [i for i, _ in found["near"]] == np.argsort(distances)[:5].tolist()
    np.testing.assert_allclose([one for _, one in found["near"]], np.sort(distances)[:5], atol=1e-4)
    first = found["near"][0][0]
    assert found["slots"][0] == f"{'abc'[train.labels[first]]}, {distances[first]:.3f}"
    np.testing.assert_array_equal(gray(found["drawn"]), train.images[first].ravel())
    logit = functions["discriminate"].call(functions["discriminate"].weights, image, classes)
    assert float(found["logit"]) == pytest.approx(float(np.ravel(logit)[0]), abs=0.006)


@chromium
def test_a_generator_too_large_for_a_page_is_shown_by_its_images(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(noise, "LARGEST_SCRIPT", 10)
    path = single.write(runs / "gan", tmp_path / "page.html", dataset=images())
    assert 'id="model"' not in path.read_text()
    body = """
    await until(() => page.view);
    document.querySelector('[aria-label="Sample"]').children[1].click();
    move("direction-2", 3);
    return pixels(document.getElementById("generated"));
    """
    found = drive(path, body, tmp_path)
    generate = models.functions_of(load(runs / "gan"))["generate"]
    directions, _ = noise.principal_directions(generate, noise.PROBES)
    start = np.random.default_rng(0).normal(size=(noise.SAMPLES, 4))[1]
    moved = start + (3 - start @ directions[1]) * directions[1]
    same_pixels(
        found, generate.call(generate.weights, jnp.asarray([moved], jnp.float32), jnp.asarray([[0.0, 1.0, 0.0]]))[0]
    )


@chromium
def test_the_pole_is_played_by_the_net_and_pushed_by_keys(runs, pages, tmp_path):
    body = """
    const view = page.view, seen = [];
    view.playing = false;
    view.state = [0.01, -0.02, 0.03, 0.04];
    view.count = 0; view.over = null;
    for (let i = 0; i < 8; i++) {
      const before = view.state.slice();
      view.advance();
      seen.push({ before, values: Array.from(view.values), action: view.action, after: view.state.slice() });
    }
    const key = (type, name) => window.dispatchEvent(new KeyboardEvent(type, { key: name, cancelable: true }));
    view.state = [0, 0, 0, 0];
    key("keydown", "ArrowRight");
    view.advance();
    const pushed = { action: view.action, speed: view.state[1] };
    key("keyup", "ArrowRight");
    document.getElementById("who").click();
    key("keydown", "ArrowLeft");
    view.state = [0, 0, 0, 0];
    view.advance();
    const mine = { action: view.action, speed: view.state[1], held: view.held };
    move("gravity", 3);
    move("length", 2);
    view.over = null; view.state = [0, 0, 0.1, 0];
    view.fillPlane(page.data.model.grid, view.physics.theta_threshold_radians);
    const { gravity, length } = view.physics;
    return { seen, pushed, mine, gravity, length, note: view.key_.textContent };
    """
    found = drive(pages / "dqn.html", body, tmp_path)
    run = load(runs / "dqn")
    function = models.functions_of(run, len(found["seen"]))["values"]
    states = jnp.asarray([one["before"] for one in found["seen"]], jnp.float32)
    wanted = np.asarray(function.call(function.weights, states))
    np.testing.assert_allclose([one["values"] for one in found["seen"]], wanted, atol=1e-4)
    np.testing.assert_array_equal([one["action"] for one in found["seen"]], np.asarray(run.act(states)))
    assert found["pushed"]["speed"] > 0  # whichever way the motor pulls with its 10 N: a key pushes with 12
    assert found["mine"]["action"] == 0
    assert found["mine"]["speed"] < 0
    assert found["gravity"] == pytest.approx(3, abs=0.1)
    assert found["length"] == pytest.approx(1, abs=0.01)
    assert "Largest difference" in found["note"]


@chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", [*CONFIGS, "dqn", "several"])
def test_axe_finds_no_serious_violation(pages, tmp_path, name, dark):
    assert violations(pages / f"{name}.html", tmp_path, dark) == []


@chromium
def test_curves_answer_their_controls(pages, tmp_path):
    body = """
    const chart = page.charts[0];
    const texts = () => Array.from(chart.svg.querySelectorAll("text")).map((one) => one.textContent);
    await until(() => chart.svg.querySelector("path"));
    const plain = chart.svg.querySelector("path").getAttribute("d"), read = chart.legend.textContent;
    document.getElementById("log").click();
    const logged = Array.from(chart.svg.querySelectorAll("path")).map((one) => one.getAttribute("d"));
    const unit = document.getElementById("unit");
    unit.value = "epochs";
    unit.dispatchEvent(new Event("change"));
    chart.svg.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight", cancelable: true }));
    return { plain, logged, unit: texts().at(-1), read, at: chart.legend.textContent };
    """
    found = drive(pages / "vae.html", body, tmp_path)
    assert found["plain"] not in found["logged"]
    assert found["unit"] == "epochs"
    assert " at 0." in found["at"]
    assert found["at"] != found["read"]


LIMITS = {
    ("ae_mnist", "chapter"): 2e6,
    ("conv_ae_mnist", "chapter"): 2e6,
    ("vae_mnist", "conv"): 2e6,
    ("vae_mnist", "best"): 1.7e6,  # 784-500-20: with figures and codes, less than 2 MB
    ("iwae_mnist", "iwae"): 2e6,
    ("gan_mnist", "chapter"): 2e6,
    ("vae_flowers", "logistic"): 12e6,
    ("gan_flowers", "chapter"): 12e6,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), LIMITS)
def test_models_of_the_presets_are_small_enough(name, preset):
    experiment = importlib.import_module(name).EXPERIMENT
    settings, algorithm = experiment.presets[preset], experiment.algorithm
    shape = settings.config.image_shape
    classes = 5 if settings.data.source == "petals" else 10
    config = algorithm.TRAITS.adapt(settings.config, DataFacts("some", shape, 4_000, classes))
    hparams = jax.tree.map(jnp.float32, settings.hparams)
    state = algorithm.init(jax.random.key(0), hparams, config)
    run = Run(algorithm, config, hparams, 0, 0, 1, "running", state, [])
    model = models.of(run, None, False)
    size = len(model.source or "") + len(document.deflated(model.weights)) + len(json.dumps(model.data))
    assert size < LIMITS[name, preset]
