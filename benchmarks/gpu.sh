#!/usr/bin/env bash
# Tests, benchmarks and studies on a machine with a GPU; --help lists the sections, PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
exec "${PYTHON:-python3}" -m benchmarks.gpu "$@"
