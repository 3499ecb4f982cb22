"""Headless Chromium for tests: a page from disk, a script that works its controls, and what it found."""

import html
import json
import os
import re
import shutil
import subprocess

import pytest

PROBE = """
<pre id="found"></pre>
<script>
(async () => {
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const until = async (holds) => { for (let i = 0; i < 400 && !holds(); i++) await wait(25); };
  const pixels = (canvas) => Array.from(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data);
  const move = (id, value) => {
    const control = document.getElementById(id);
    control.value = value;
    control.dispatchEvent(new Event("input", { bubbles: true }));
    return Number(control.value);
  };
  const press = (canvas, points) => points.forEach(([x, y], i) => {
    const box = canvas.getBoundingClientRect();
    const at = { clientX: box.left + x * box.width, clientY: box.top + y * box.height, bubbles: true };
    canvas.setPointerCapture = () => {};
    canvas.dispatchEvent(new PointerEvent(i ? "pointermove" : "pointerdown", at));
    if (i === points.length - 1) canvas.dispatchEvent(new PointerEvent("pointerup", at));
  });
  let found;
  try {
    await until(() => document.documentElement.dataset.ready);
    found = await (async () => { BODY })();
  } catch (error) { found = { error: String(error) }; }
  const loaded = performance.getEntriesByType("resource").map((one) => one.name);
  const outside = loaded.filter((name) => !/^(data|blob):/.test(name));
  const wide = document.documentElement.scrollWidth > innerWidth;
  const state = { ready: document.documentElement.dataset.ready, errors: page.errors, outside, wide, found };
  document.getElementById("found").textContent = JSON.stringify(state);
})();
</script>
"""
LOADED = """
<script>
{ const one = document.createElement("script"); one.textContent = TEXT; document.head.append(one); }
</script>
"""


def drive(page, body, tmp_path, width=1000, dark=False, milliseconds=20_000, script=""):
    """Open a copy of the page, run the JavaScript `body` in it and return its result; the page itself is sound.

    `script` is loaded before.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no chromium to open pages")
    text = page.read_text(encoding="utf-8")
    before, _, after = text.rpartition("</body>")
    loaded = LOADED.replace("TEXT", json.dumps(script).replace("<", "\\u003c")) if script else ""
    text = f"{before}{loaded}{PROBE.replace('BODY', body)}</body>{after}"
    if dark:
        text = text.replace('<html lang="en">', '<html lang="en" data-theme="dark">')
    copy = tmp_path / "opened.html"
    copy.write_text(text, encoding="utf-8")
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
        f"--user-data-dir={tmp_path / 'chromium'}", f"--window-size={width},900", "--dump-dom",
        f"--virtual-time-budget={milliseconds}", "--proxy-server=127.0.0.1:9", copy.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=240, env={**os.environ, "HOME": str(tmp_path)}
    )
    console = [line for line in done.stderr.splitlines() if ":CONSOLE:" in line or "CONSOLE(" in line]
    console = [line for line in console if "willReadFrequently" not in line]  # of reading pixels, as only tests do
    assert not console, console
    written = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)
    assert written, done.stderr[-2000:]
    state = json.loads(html.unescape(written[1]))
    assert state["ready"] == "yes", state
    assert state["errors"] == []
    assert state["outside"] == []
    assert not state["wide"], f"the page is wider than {width} pixels"
    assert "error" not in (state["found"] or {}), state["found"]
    return state["found"]
