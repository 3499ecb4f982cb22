"""A page's elements, and its scripts in Node."""

import json
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from jaxgen.page import document


class Elements(HTMLParser):
    """Every element of a page: tag and attributes."""

    def __init__(self, text):
        super().__init__()
        self.all = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.all.append((tag, dict(attrs)))

    def of(self, *tags):
        return [attributes for tag, attributes in self.all if tag in tags]

    def sources(self):
        """Everything that a browser would load."""
        return [one[key] for _, one in self.all for key in ("src", "href", "action") if key in one]


def evaluate(script, expression, needs=(), **inputs):
    """The value of a JavaScript expression in which the script's functions and the inputs are known.

    `needs` are scripts that it calls, which are not written for Node.
    """
    if shutil.which("node") is None:
        pytest.skip("there is no node to run JavaScript")
    before = "const window = { addEventListener() {} };" + "".join(document.asset(name) for name in needs)
    code = f"""
    const holder = {{ exports: {{}} }};
    new Function("module", {json.dumps(before + document.asset(script))})(holder);
    const run = new Function(...Object.keys(holder.exports), "x", "return " + {json.dumps(expression)});
    const lines = require("fs").readFileSync(0, "utf8");
    console.log(JSON.stringify(run(...Object.values(holder.exports), JSON.parse(lines))));
    """
    done = subprocess.run(["node", "-e", code], input=json.dumps(inputs), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)
