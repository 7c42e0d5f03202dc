# What .ci/run and .ci/nightly share, sourced by both: where they work, their stages, the README's
# test command, and the interpreters at hand. Nothing of the checkout is changed.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

here=$PWD work=$(mktemp -d)
finish() {
    local status=$?
    wait
    printf '\n== %s after %d s\n%s' "$verdict" "$SECONDS" "$summary"
    rm -rf "$work"
    exit "$status"
}
summary= verdict='no test command in README.md'
trap finish EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PYTHONUNBUFFERED=1
# Where there are real slices beside this checkout, the copy's tests find them too.
export COSUP_REAL_DATA="${COSUP_REAL_DATA:-$PWD/../shared/data}"

# The README's test command: this, and the tests behind it.
setup='python3 -m venv .venv && .venv/bin/pip install -e ".[dev]"'
command=$(grep --fixed-strings "$setup && " README.md)
tests=${command#"$setup && "}

stage() {
    local name=$1 started=$SECONDS
    shift
    verdict="FAILED in stage '$name'"
    printf '\n== %s: %s\n' "$name" "$*"
    "$@"
    summary+=$(printf '%5d s  %s' $((SECONDS - started)) "$name")$'\n'
}

# `beside COMMAND` runs a command's stages beside those that follow, for what keeps one core busy.
# `gather` waits for them, and shows what they said.
beside() {
    printf '\n== beside what follows: %s\n' "$*"
    (
        summary=
        trap 'printf "%s" "$summary" >"$work/summary"; printf "%s" "$verdict" >"$work/verdict"' EXIT
        "$@"
    ) >"$work/said" 2>&1 &
    beside=$!
}
gather() {
    local status=0
    wait "$beside" || status=$?
    cat "$work/said"
    summary+=$(sed 's/$/ (beside)/' "$work/summary")$'\n' verdict=$(cat "$work/verdict")
    return "$status"
}

note() {
    printf '\n== %s\n' "$*"
    summary+="         $*"$'\n'
}

# A fresh clone, as far as files go: this checkout with its changes, without what git ignores.
make_copy() {
    mkdir "$1"
    tar -C "$here" -c --exclude='./.venv*' --exclude=./runs . | tar -x --no-same-owner -C "$1"
    git -C "$1" clean -fdXq
    cd "$1"
}

# Prints version and path of an interpreter if it is a release that can make environments.
describe() {
    "$1" - 2>/dev/null <<'PYTHON' || true
import sys, sysconfig, ensurepip, venv
if sys.version_info.releaselevel == "final" and not sysconfig.get_config_var("Py_GIL_DISABLED"):
    print("{}.{}".format(*sys.version_info), sys.executable)
PYTHON
}

candidates() {
    local minor version
    type -aP python3 || true
    for minor in {11..30}; do
        type -aP "python3.$minor" || true
    done
    if type -P pyenv >/dev/null; then
        for version in $(pyenv versions --bare); do
            printf '%s/bin/python3\n' "$(pyenv prefix "$version")"
        done
    fi
}

# One line "VERSION PATH" for each Python found here that pyproject.toml allows, from the oldest.
find_pythons() {
    local lowest path
    lowest=$(sed -n 's/^requires-python = ">=\(.*\)"$/\1/p' pyproject.toml)
    for path in $(candidates | awk '!seen[$0]++'); do
        describe "$path"
    done | { cat; echo "$lowest -"; } | sort -s -V -k1,1 | awk -v lowest="$lowest" '
        $1 == lowest { from = 1 }
        from && $2 != "-" && !seen[$1]++ { print }'
}

# From here on `python3`, in the README's command too, is the interpreter of a line above.
use_python() {
    version=$1 interpreter=$2
}
python3() {
    "$interpreter" "$@"
}
