"""Words of the command `jaxgen` complete with Tab."""

import shutil
import subprocess
import sys

import pytest

ASKED = """
source "$1"
COMP_WORDS=(jaxgen "$2") COMP_CWORD=1 COMPREPLY=()
$(complete -p jaxgen | sed "s/.*-F \\([^ ]*\\).*/\\1/")
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands(tmp_path):
    command = [sys.executable, "-m", "jaxgen", "--tyro-print-completion", "bash"]
    (tmp_path / "words").write_text(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    asked = ["bash", "-c", ASKED, "bash", str(tmp_path / "words"), "ve"]
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout == "verify\n"
