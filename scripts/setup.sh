#!/usr/bin/env bash
# Makes the virtual environment .venv in the project's root, with the versions of constraints.txt. Safe to run again at any time: where
# .venv/.ready says that it was made from the same files, in the same way, nothing is done.
#   FORCE           install again all the same
#   EXTRAS          what to install of pyproject.toml's extras; default: dev (everything a developer needs). An executor node takes: executor
#   TORCH_INDEX     extra package index for CPU torch where there is no NVIDIA GPU; empty: none
#   PYTHON          the interpreter to make .venv with; default: the first suitable of python3.11, python3.12, python3.13, python3
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

EXTRAS="${EXTRAS:-dev}"
TORCH_INDEX="${TORCH_INDEX-https://download.pytorch.org/whl/cpu}"
venv=.venv
log=$venv/setup.log
export PIP_DISABLE_PIP_VERSION_CHECK=1

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# A name on PATH proves nothing (version managers leave shims behind): the interpreter has to run.
suitable() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1; }
has_venv() { "$1" -c 'import ensurepip, venv' >/dev/null 2>&1; }

find_python() {
    local candidate without_venv=""
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
        suitable "$candidate" || continue
        if has_venv "$candidate"; then printf '%s' "$candidate"; return; fi
        without_venv=$candidate
    done
    if [ -n "$without_venv" ]; then
        die "$without_venv has no venv module: install it, for example with \`sudo apt-get install python3-venv\`."
    fi
    die "Python 3.11, 3.12 or 3.13 was not found: install one with its venv module, for example with" \
        "\`sudo apt-get install python3 python3-venv\`, or name it with PYTHON=/path/to/python3."
}

# pip's own words go to the log; the terminal gets one line per stage and, when it fails, the end of the log.
pip_install() {
    if ! "$venv/bin/python" -m pip install "$@" >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "pip could not install the packages of this stage; everything it said is in $log."
    fi
}

base() { "$1" -c 'import os, platform, sys; print(platform.python_version(), os.path.realpath(sys._base_executable))' 2>/dev/null; }
gpu() { if [[ "$(nvidia-smi -L 2>/dev/null)" == GPU* ]]; then echo "NVIDIA GPU"; else echo "no NVIDIA GPU, index $TORCH_INDEX"; fi; }

# What an environment depends on. The folder is part of it: paths in the environment lead to it.
made_from() {
    printf 'extras %s\npython %s\ntorch %s\nfolder %s\n' "$EXTRAS" "$(base "$venv/bin/python")" "$(gpu)" "$PWD"
    cksum pyproject.toml constraints.txt scripts/setup.sh
}

usable() {
    suitable "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1 || return 1
    [ -z "${PYTHON:-}" ] || [ "$(base "$PYTHON")" = "$(base "$venv/bin/python")" ]
}

if ! usable; then
    python=$(find_python)
    free_mib=$(df -Pm . | awk 'NR == 2 {print $4}')
    [ "$free_mib" -ge 4096 ] || die "only $free_mib MiB are free here and the environment needs about 4 GiB: make room first."
    say "virtual environment $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear "$venv"
fi
if [ -z "${FORCE:-}" ] && [ "$(made_from)" = "$(cat "$venv/.ready" 2>/dev/null)" ]; then
    touch "$venv/.ready"  # make compares times
    say "$venv is up to date (FORCE=1 installs again)"
    exit 0
fi
rm -f "$venv/.ready"
: >"$log"

# torch goes first and alone, so that nothing the other packages ask for can choose another build of it.
install_torch() {
    local torch
    torch=$(grep -E '^torch==' constraints.txt)
    if [ "$(gpu)" = "NVIDIA GPU" ]; then
        say "$torch (an NVIDIA GPU answers: the registry's CUDA build)"
        pip_install -c constraints.txt "$torch"
    elif [ -z "$TORCH_INDEX" ]; then
        say "$torch (no NVIDIA GPU; TORCH_INDEX is empty)"
        pip_install -c constraints.txt "$torch"
    else
        say "$torch (no NVIDIA GPU: the CPU build of $TORCH_INDEX where it can be reached)"
        # One short try, and --no-deps so that it is one look-up: without a route to that index pip goes on with the registry's build.
        # Should the registry itself have stumbled in it, pip's usual patience follows.
        "$venv/bin/python" -m pip install --no-deps --retries 0 --timeout 5 --extra-index-url "$TORCH_INDEX" "$torch" >>"$log" 2>&1 ||
            pip_install --no-deps --extra-index-url "$TORCH_INDEX" "$torch"
    fi
}

case ",$EXTRAS," in
    *,dev,* | *,train,* | *,benchmark,*) install_torch ;;
esac
say "the packages of [$EXTRAS] (versions of constraints.txt), a minute or two the first time"
pip_install -c constraints.txt -e ".[$EXTRAS]"
made_from >"$venv/.ready"
say "ready after $SECONDS s, $(du -sm "$venv" | cut -f1) MiB"
