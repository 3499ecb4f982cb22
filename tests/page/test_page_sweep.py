"""The page of a sweep and of a search: what the record says, and linked views that answer their controls."""

import json
import re
import shutil

import numpy as np
import pytest
import search as search_script
import sweep as sweep_script
from accessibility import violations
from browser import drive
from elements import Elements, evaluate

from jaxgen.errors import UserError
from jaxgen.page import sweep
from jaxgen.sweeps import record

SMALL = ["ae_mnist", "--data.source", "digits", "--config.widths", "8", "--run.epochs", "2", "--run.save-every", "9"]
GRID = ["--axis", "hparams.learning_rate=log:1e-4:1e-2:3", "--axis", "config.optimizer=adam,sgd"]
SPACE = ["--axis", "hparams.learning_rate=log:1e-3:1e-1", "--axis", "hparams.b1=0:0.9", "--trials", "8", "--batch", "4"]


def ran(script, root, *args):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sys.argv", [f"/home/me/experiments/{script.__name__}.py", *SMALL, "--run.root", str(root), *args]
        )
        script.main()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with a sweep and a search."""
    root = tmp_path_factory.mktemp("runs")
    ran(sweep_script, root, *GRID, "--run.name", "sweep")
    ran(search_script, root, *SPACE, "--pruner", "halving", "--run.name", "search")
    return root


@pytest.fixture(scope="module")
def pages(root):
    return {name: sweep.write(root / name, root / f"{name}.html") for name in ("sweep", "search")}


def data_of(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])["sweep"]


def test_a_page_on_request(root, tmp_path, capsys, monkeypatch):
    shutil.copytree(root / "sweep", tmp_path / "sweep")
    ran(sweep_script, tmp_path, *GRID, "--run.name", "sweep", "--run.page")
    assert f"its page is {tmp_path / 'sweep' / 'page.html'}" in capsys.readouterr().out
    assert data_of(tmp_path / "sweep" / "page.html")["best"] == record.read(root / "sweep").best.number

    def fail(*args):
        raise OSError("no ink")

    monkeypatch.setattr(sweep, "write", fail)
    ran(sweep_script, tmp_path, *GRID, "--run.name", "sweep", "--run.page")
    found = capsys.readouterr()
    assert "its page is" not in found.out
    assert f"warning: {tmp_path / 'sweep'} has no page (OSError: no ink)" in found.err


def test_the_record_of_a_sweep(root):
    found = record.read(root / "sweep")
    assert found.kind == "sweep"
    assert found.objective == ("test/loss", False)
    assert found.axes == ("hparams.learning_rate", "config.optimizer")
    assert [one.number for one in found.members] == list(range(6))
    assert {one.state for one in found.members} == {"finished"}
    table = (root / "sweep" / "results.csv").read_text().splitlines()
    column = table[0].split(",").index("test/loss")
    assert [one.value for one in found.members] == [float(line.split(",")[column]) for line in table[1:]]
    assert found.best.value == min(one.value for one in found.members)
    assert [step for step, _ in found.best.curve] == sorted({step for step, _ in found.best.curve})
    command = found.command_of(found.best)
    assert command.startswith("python experiments/ae_mnist.py --data.source digits")
    assert f"--hparams.learning-rate {found.best.point['hparams.learning_rate']}" in command
    assert "--run.name" not in command


def test_the_record_of_a_search(root):
    found = record.read(root / "search")
    table = [line.split(",") for line in (root / "search" / "results.csv").read_text().splitlines()]
    rows = [dict(zip(table[0], line, strict=True)) for line in table[1:]]
    states = {"COMPLETE": "finished", "PRUNED": "pruned", "FAIL": "diverged"}
    assert [one.state for one in found.members] == [states[row["state"]] for row in rows]
    assert {"finished", "pruned"} == {one.state for one in found.members}
    assert [one.value for one in found.members] == pytest.approx([float(row["value"]) for row in rows])
    assert [one.others["evaluations"] for one in found.members] == [float(row["evaluations"]) for row in rows]
    complete = [float(row["value"]) for row in rows if row["state"] == "COMPLETE"]
    assert found.best.value == pytest.approx(min(complete))
    from jaxgen.page import facts

    alone = facts.of_member(facts.read(found.best.path), found.best.place)
    assert alone.entry.value.value == pytest.approx(found.best.value)
    assert alone.record["settings"]["hparams"]["b1"] == pytest.approx(found.best.point["hparams.b1"], rel=1e-5)


def test_members_that_are_not_finished_lost_or_unreadable(root, tmp_path):
    copy = tmp_path / "sweep"
    shutil.copytree(root / "sweep", copy)
    shutil.rmtree(copy / "group-001")
    (copy / "group-000" / "result.json").unlink()
    found = record.read(copy)
    assert {one.state for one in found.members} == {"unfinished"}
    assert found.best is None
    assert "No member is finished yet" in sweep.text(copy)
    (copy / "group-000" / "diverged.json").write_text(json.dumps({"reason": "lost"}))
    assert [one.state for one in record.read(copy).members].count("diverged") == 3
    (copy / "group-000" / "metrics.jsonl").unlink()
    with pytest.raises(UserError, match="has no value of test/loss yet"):
        record.read(copy)
    (copy / "sweep.json").write_text("{}")
    with pytest.raises(UserError, match=r"sweep\.json is damaged \(it has no 'groups'\)"):
        record.read(copy)


def test_a_sweep_of_before_that_has_not_recorded_its_metric(root, tmp_path):
    copy = tmp_path / "sweep"
    shutil.copytree(root / "sweep", copy)
    saved = json.loads((copy / "sweep.json").read_text())
    kept = {name: one for name, one in saved.items() if name not in ("metric", "maximize", "options", "sha256")}
    (copy / "sweep.json").write_text(json.dumps(kept))
    found = record.read(copy)
    assert found.objective == ("test/loss", False)
    assert found.command_of(found.best) is None
    assert "To repeat it" not in sweep.text(copy).partition("<main>")[0]


def test_a_journal_is_read_while_others_write_and_named_where_damaged(root, tmp_path):
    copy = tmp_path / "search"
    shutil.copytree(root / "search", copy)
    before = sorted(path.name for path in copy.iterdir())
    with open(copy / "journal.log", "a") as file:
        file.write('{"op_code": 4, "wor')
    assert len(record.read(copy).members) == 8
    assert (copy / "journal.log").read_text().endswith('"wor')  # left to those who write
    assert sorted(path.name for path in copy.iterdir()) == before
    (copy / "journal.log").write_text("x" + (copy / "journal.log").read_text())
    with pytest.raises(UserError, match=r"journal\.log is damaged"):
        record.read(copy)
    (copy / "journal.log").unlink()
    with pytest.raises(UserError, match="has no trials yet"):
        record.read(copy)


@pytest.mark.parametrize("name", ["sweep", "search"])
def test_the_page_loads_nothing_and_holds_the_best_ones_page(root, pages, name):
    text = pages[name].read_text()
    elements = Elements(text)
    assert all(source.startswith("data:") for source in elements.sources())
    ids = [one["id"] for _, one in elements.all if "id" in one]
    assert len(ids) == len(set(ids))
    assert str(root) not in text
    assert "/home/me" not in text
    best = record.read(root / name).best
    inner = json.loads(re.search(r'id="best">(.*?)</script>', text)[1])
    assert f"{name}, {data_of(pages[name])['what']} {best.number}</h1>" in inner
    assert f"<b>{best.value:.4g}</b>" in inner
    assert 'id="model"' in inner
    assert "Seed</dt><dd>0</dd>" in inner
    assert data_of(pages[name])["best"] == best.number


def test_axes_are_spread_as_recorded(pages):
    spread = {name: {one["name"]: one["log"] for one in data_of(pages[name])["axes"]} for name in pages}
    assert spread["sweep"] == {"hparams.learning_rate": True, "config.optimizer": False}
    assert spread["search"] == {"hparams.learning_rate": True, "hparams.b1": False}
    assert record._logs(["a-b=log:1:2:3", "c=lin:1:9:3", "d=1,2", "e=0:4", "f"]) == {
        "a_b": True,
        "c": False,
        "e": False,
    }


@pytest.mark.parametrize(
    ("values", "log"),
    [
        (np.geomspace(1e-4, 1e-2, 5), True),
        (np.linspace(1e-4, 1e-2, 5), False),
        (np.exp(np.random.default_rng(0).uniform(-9, -2, 20)), True),
        (np.random.default_rng(1).uniform(0.1, 4, 20), False),
        ([0.1, 0.2], False),
        ([0.0, 1.0, 2.0], False),
        (["adam", "sgd"], False),
        ([True, False], False),
    ],
)
def test_axes_of_logarithms(values, log):
    assert sweep.is_log([one.item() if isinstance(one, np.generic) else one for one in values]) == log


# The arithmetic of the views, in Node.


def test_places_on_axes():
    assert evaluate("members.js", "fractions([1, 10, 100, null], true)") == [0, 0.5, 1, None]
    assert evaluate("members.js", "fractions([2, 2], false)") == [0.5, 0.5]
    assert evaluate("members.js", "fractions(['b', 'a', 'c'], false)") == [0.5, 0, 1]


def test_shares_leave_out_the_worst_tenth():
    values = [*range(10), 1e9]
    found = evaluate("members.js", "shares(x.values, false)", values=values)
    wanted = np.clip(1 - np.array(values) / np.quantile(values, 0.9), 0, 1)
    np.testing.assert_allclose(found, wanted)
    assert evaluate("members.js", "shares([1, null, 3], true)") == [0, None, 1]
    assert evaluate("members.js", "quantile([3, 1, null, 2], 0.25)") == 1.5


def test_what_lies_in_all_brushes():
    places = [[0.1, 0.5], [0.4, 0.5], [0.4, None], [0.4, 0.9]]
    found = evaluate("members.js", "x.places.map((one) => within(one, {0: [0.3, 0.5], 1: [0, 0.6]}))", places=places)
    assert found == [False, True, False, False]
    assert evaluate("members.js", "within([null], {})")


def test_cells_of_an_axis():
    few = evaluate("members.js", "bins([3, 1, 3, 2], [1, 0, 1, 0.5])", needs=["base.js"])
    assert [(one["text"], one["low"]) for one in few] == [("1", 0), ("2", 0.5), ("3", 1)]
    values = list(range(25))
    many = evaluate("members.js", "bins(x.values, x.values.map((v) => v / 24))", values=values, needs=["base.js"])
    assert evaluate("members.js", "bins(['b', 'a'], [1, 0], 1).map((one) => one.text)") == ["a", "b"]
    assert [one["text"] for one in many] == ["0 to 4", "4 to 8", "8 to 12", "12 to 16", "16 to 20", "20 to 24"]


def test_the_order_of_a_column():
    assert evaluate("members.js", "ordered([3, null, 1, 2], false)") == [2, 3, 0, 1]
    assert evaluate("members.js", "ordered([3, null, 1, 2], true)") == [0, 3, 2, 1]
    assert evaluate("members.js", "ordered(['b', 'a'], false)") == [1, 0]


def test_the_view_of_curves_leaves_out_what_diverges():
    low, high = evaluate("members.js", "zoomed(x.values, false)", values=[*range(10), 1e9])
    assert low == pytest.approx(-0.18)
    assert 9 < high < 20


# In Chromium.

chromium = pytest.mark.slow


@chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["sweep", "search"])
def test_the_page_opens_on_a_phone(pages, tmp_path, name, dark):
    body = """
    await until(() => page.view.parallel.querySelector("path.line"));
    const lines = page.view.curves.querySelectorAll("path.line").length;
    return { dark: isDark(), rows: page.view.rows.filter((one) => !one.hidden).length, lines };
    """
    found = drive(pages[name], body, tmp_path, width=500, dark=dark)
    members = data_of(pages[name])["members"]
    assert found == {"dark": dark, "rows": len(members), "lines": sum(bool(one["curve"][0]) for one in members)}


@chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["sweep", "search"])
def test_axe_finds_no_serious_violation_in_it(pages, tmp_path, name, dark):
    assert violations(pages[name], tmp_path, dark) == []


@chromium
def test_brushes_rows_and_cells_are_linked(pages, tmp_path):
    body = """
    const view = page.view, members = view.data.members;
    await until(() => view.parallel.querySelector("path.line"));
    const shown = () => members.flatMap((one, i) => (view.shown(i) ? [one.number] : []));
    const number = (row) => Number(row.querySelector("button").textContent);
    const rows = () => Array.from(view.body.children).filter((row) => !row.hidden).map(number);
    const strong = (svg) => {
      const lines = Array.from(svg.querySelectorAll("path.line")).filter((one) => one.style.opacity === "1");
      return lines.map((one) => members[one.dataset.member].number).sort((a, b) => a - b);
    };
    const event = { bubbles: true, cancelable: true };
    const key = (node, name, shiftKey = false) =>
      node.dispatchEvent(new KeyboardEvent("keydown", { key: name, shiftKey, ...event }));
    const axis = (k) => view.parallel.querySelector(`[data-axis="${k}"]`);
    const found = {};
    // by the pointer: the upper half of the learning rates
    const place = axis(0).querySelector(".hit").getBoundingClientRect();
    const drag = (y, name, target) =>
      target.dispatchEvent(new PointerEvent(name, { clientX: place.left + 5, clientY: y, ...event }));
    drag(place.top + 1, "pointerdown", axis(0));
    drag(place.top + 0.3 * place.height, "pointermove", window);
    drag(place.top + 0.3 * place.height, "pointerup", window);
    const lines = strong(view.parallel), curves = strong(view.curves);
    found.brushed = { shown: shown(), rows: rows(), lines, curves, said: view.said.textContent };
    drag(place.top + 20, "pointerdown", axis(0));
    drag(place.top + 20, "pointerup", window);
    found.freed = shown();
    // by keys
    key(axis(0), "ArrowDown");
    for (let i = 0; i < 20; i++) key(axis(0), "ArrowDown");
    found.keys = shown();
    found.interval = view.brushes[0];
    found.spoken = axis(0).getAttribute("aria-valuetext");
    for (let i = 0; i < 20; i++) key(axis(0), "ArrowUp", true);
    found.grown = shown();
    key(axis(0), "Escape");
    found.escaped = shown();
    // the table
    const heads = Array.from(document.querySelectorAll(".sort"));
    const column = heads.findIndex((one) => one.textContent === view.data.metric);
    heads[column].click();
    found.ascending = rows();
    heads[column].click();
    found.descending = rows();
    found.sorted = heads[column].parentElement.getAttribute("aria-sort");
    view.rows[2].querySelector("button").click();
    view.rows[4].querySelector("button").click();
    found.chosen = { shown: shown(), rows: rows().length, curves: strong(view.curves) };
    document.getElementById("clear").click();
    const mouse = (row, name, buttons) =>
      row.dispatchEvent(new PointerEvent(name, { pointerType: "mouse", buttons, ...event }));
    mouse(view.rows[1], "pointerdown", 1);
    mouse(view.rows[0], "pointerenter", 1);
    mouse(view.rows[0], "pointerup", 0);
    mouse(view.rows[3], "pointerenter", 0);
    found.dragged = shown();
    document.getElementById("clear").click();
    // the heat map
    const button = view.heat.querySelector('[data-cell="1,2"]');
    found.cell = { label: button.getAttribute("aria-label"), text: button.textContent };
    button.click();
    found.inCell = shown();
    view.heat.querySelector('[data-cell="1,2"]').click();
    found.outOfCell = shown();
    document.getElementById("log").click();
    found.logged = view.log;
    view.light(3);
    found.lit = document.querySelectorAll(".lit").length;
    return found;
    """
    found = drive(pages["sweep"], body, tmp_path)
    members = data_of(pages["sweep"])["members"]
    rates = sorted({one["point"][0] for one in members})
    by_rate = {rate: [one["number"] for one in members if one["point"][0] == rate] for rate in rates}
    everything = [one["number"] for one in members]
    highest = by_rate[rates[2]]
    assert found["brushed"]["shown"] == highest
    assert found["brushed"]["rows"] == found["brushed"]["lines"] == found["brushed"]["curves"] == highest
    values = {one["number"]: one["value"] for one in members}
    assert f"member {min(highest, key=values.get)} with" in found["brushed"]["said"]
    assert found["brushed"]["said"].startswith("2 of 6 members shown")
    assert found["freed"] == found["escaped"] == found["outOfCell"] == everything
    assert found["keys"] == by_rate[rates[0]]
    assert found["interval"] == pytest.approx([0, 0.2])
    assert found["spoken"] == "0 to 20 percent"
    assert found["grown"] == everything
    assert found["ascending"] == sorted(everything, key=values.get)
    assert found["descending"] == found["ascending"][::-1]
    assert found["sorted"] == "descending"
    assert found["chosen"] == {"shown": [2, 4], "rows": 6, "curves": [2, 4]}
    assert found["dragged"] == [0, 1]
    (inside,) = found["inCell"]
    assert members[inside]["point"] == [rates[2], "sgd"]
    assert float(found["cell"]["text"]) == pytest.approx(values[inside], rel=1e-3)
    assert "optimizer sgd" in found["cell"]["label"]
    assert found["logged"]
    assert found["lit"] >= 3


@chromium
@pytest.mark.parametrize("name", ["sweep", "search"])
def test_the_best_ones_page_is_a_click_away_and_alive(root, pages, tmp_path, name):
    body = """
    document.getElementById("open-best").click();
    const frame = document.getElementById("best-page");
    await until(() => frame.contentDocument?.documentElement?.dataset.ready);
    const inner = frame.contentDocument, title = inner.querySelector("h1").textContent;
    const ready = inner.documentElement.dataset.ready;
    const inside = (text) => new Promise((done) => {
      const script = inner.createElement("script");
      script.textContent = `window.answer = ${text}`;
      inner.body.append(script);
      done(frame.contentWindow.answer);
    });
    const errors = await inside("page.errors");
    const pixels_ = pixels(inner.querySelector("canvas.big"));
    document.getElementById("open-best").click();
    return { ready, title, errors, bright: Math.max(...pixels_.filter((_, i) => i % 4 !== 3)), hidden: frame.hidden };
    """
    found = drive(pages[name], body, tmp_path)
    assert found["ready"] == "yes"
    assert found["errors"] == []
    assert found["title"] == f"{name}, {data_of(pages[name])['what']} {record.read(root / name).best.number}"
    assert found["bright"] > 0
    assert found["hidden"]
