# Sourced by scripts/demo and scripts/test in the root of the repository: says what happens, makes .venv, installs.
# shellcheck shell=sh

unset PYTHONPATH PYTHONHOME
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0
started=$(date +%s)

# say TEXT: one line, with the seconds since the start.
say() {
    printf '%4d s  %s\n' "$(($(date +%s) - started))" "$*"
}

# give_up TEXT: the last line, on standard error.
give_up() {
    printf '%s: %s\n' "$0" "$*" >&2
    exit 1
}

# prepare LOCK: .venv holds what requirements/LOCK.lock pins and the project itself, in place.
prepare() {
    if ! venv_works; then
        find_python
        make_venv
    fi
    if installed "$1"; then
        return
    fi
    install_from "$1"
}

venv_works() {
    [ -d .venv ] || return 1
    if [ -e .venv/unfinished ]; then
        say "an installation into .venv was interrupted: making it anew"
        return 1
    fi
    # Not moved since it was made, has pip, and is the Python that was asked for.
    grep -qF "$PWD/.venv/bin/python" .venv/bin/pip 2>/dev/null &&
        .venv/bin/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null &&
        { [ -z "${PYTHON-}" ] || [ "$(version_of "$PYTHON")" = "$(version_of .venv/bin/python)" ]; } &&
        return 0
    say ".venv does not work here: making it anew"
    return 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

find_python() {
    if [ -n "${PYTHON-}" ]; then
        new_enough "$PYTHON" || give_up "PYTHON=$PYTHON is no Python 3.11 or newer."
        python=$PYTHON
        return
    fi
    for python in python3 python3.14 python3.13 python3.12 python3.11 python; do
        if new_enough "$python"; then
            return
        fi
    done
    give_up "no Python 3.11 or newer was found; install one, or name it: PYTHON=/path/to/python3 $0"
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

make_venv() {
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        # Debian keeps these two modules of Python in a package of their own.
        package="python$(version_of "$python")-venv"
        say "installing $package: $python cannot make virtual environments without it"
        sh scripts/lib/apt.sh "$package" ||
            give_up "Python's venv module is missing; install it with: sudo apt-get install $package"
        "$python" -c 'import ensurepip, venv' 2>/dev/null ||
            give_up "$python has no venv module, and the package $package did not bring it."
    fi
    say "making .venv with $("$python" --version)"
    rm -rf .venv
    mkdir .venv
    : >.venv/unfinished
    "$python" -m venv .venv || give_up ".venv could not be made; what Python said stands above."
    rm .venv/unfinished
}

# The development lock holds everything that the other one does, in the same versions.
installed() {
    stamped "$1" || { [ "$1" = all ] && stamped dev; }
}

stamped() {
    [ "$(cat ".venv/installed-$1" 2>/dev/null)" = "$(digest "$1")" ]
}

digest() {
    cat "requirements/$1.lock" pyproject.toml | cksum
}

install_from() {
    lock="requirements/$1.lock"
    say "installing $(grep -c '==' "$lock") packages from $lock into .venv (a minute or two when they are new)"
    rm -f .venv/installed-*
    : >.venv/unfinished
    quiet_pip -r "$lock" --require-hashes
    quiet_pip --no-deps --no-build-isolation -e .
    rm .venv/unfinished
    digest "$1" >".venv/installed-$1"
    say "installed"
}

# pip finishes or leaves things as they were; only when it is killed can half a package lie in .venv.
quiet_pip() {
    if ! .venv/bin/python -m pip install --quiet "$@" >.venv/pip.log 2>&1; then
        rm -f .venv/unfinished
        cat .venv/pip.log >&2
        give_up "pip could not install what is needed; what it said stands above."
    fi
}
