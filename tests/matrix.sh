#!/usr/bin/env bash
# Installs jaxgen as docs/howto/install.md says, in a fresh virtual environment for each Python, and tests it there.
#
#   tests/matrix.sh [--oldest] [--jax VERSION] (full|smoke) [VERSION...]
#
# full     the whole suite, the slow tests too
# smoke    the doctor, the golden numbers and one experiment: a few minutes a Python
# VERSION  Pythons, all of 3.11 to 3.14 by default; one that the machine lacks is skipped with a line
# --oldest the oldest version of every dependency that pyproject.toml allows
# --jax    that version of JAX, whatever other packages ask for
set -uo pipefail
cd "$(dirname "$0")/.."

usage() { sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2; }

oldest="" jax=""
while [[ ${1:-} == --* ]]; do
    case $1 in
        --oldest) oldest=yes; shift ;;
        --jax) jax=${2:?a version of JAX}; shift 2 ;;
        *) usage ;;
    esac
done
kind=${1:-}
[[ $kind == full || $kind == smoke ]] || usage
shift
pythons=("$@")
((${#pythons[@]})) || pythons=(3.11 3.12 3.13 3.14)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

find_python() { # a command that runs Python $1: pyenv leaves shims of versions that are not selected
    local candidate root
    root=$(pyenv root 2>/dev/null) || root="$HOME/.pyenv"
    for candidate in "python$1" "$root/versions/$1".*/bin/python "$root/versions/$1"/bin/python; do
        if "$candidate" -c "import sys, venv; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install() { # $1: the virtual environment's Python
    local constraint=()
    if [[ $oldest ]]; then
        "$1" tests/oldest.py > "$work/oldest.txt" || return
        constraint=(--constraint "$work/oldest.txt")
    fi
    "$1" -m pip install --quiet "${constraint[@]}" -e ".[test]" || return
    if [[ $jax ]]; then
        "$1" -m pip install --quiet --upgrade "jax==$jax" || return
    fi
}

smoke() { # $1: the virtual environment's Python
    local golden
    if "$1" -c "import sys; from importlib.util import find_spec; sys.exit(find_spec('jaxgen.__main__') is None)"; then
        "$1" -m jaxgen doctor || return
    fi
    mapfile -t golden < <(find tests -name 'test_golden*.py' -o -path 'tests/golden/test_*.py')
    if ((${#golden[@]})); then
        "$1" -m pytest -q "${golden[@]}" || return
    fi
    "$1" experiments/ae_mnist.py --data.source digits --run.root "$work/runs"
}

full() {
    "$1" -m pytest --durations=15 && JAXGEN_TEST_OPTIMIZATION=default "$1" -m pytest --durations=15 -m slow
}

failed=0
for version in "${pythons[@]}"; do
    if ! python=$(find_python "$version"); then
        echo "== Python $version: not on this machine, skipped"
        continue
    fi
    began=$SECONDS result=failed
    echo "== Python $version, $kind"
    if "$python" -m venv "$work/$version" && install "$work/$version/bin/python"; then
        "$work/$version/bin/python" -m pip list 2>/dev/null | grep -E '^(jax|jaxlib|flax|optax|orbax-checkpoint|numpy) '
        "$kind" "$work/$version/bin/python" && result=passed
    fi
    rm -rf "${work:?}/$version"
    echo "== Python $version, $kind: $result in $((SECONDS - began)) s"
    [[ $result == passed ]] || failed=1
done
exit $failed
