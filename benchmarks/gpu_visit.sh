#!/usr/bin/env bash
# One visit to a machine with a GPU: every benchmark, then the tests, in less than nine minutes and without a network.
#
#   benchmarks/gpu_visit.sh                    results go to $OUT, by default benchmarks/results
#   PYTHON=.venv/bin/python OUT=/tmp/out benchmarks/gpu_visit.sh
#
# It takes a Python with jax for the GPU, flax and optax; torch with triton where it is to be compared, and pytest,
# hypothesis, chex, scipy and scikit-learn for the tests. Each part has its own limit of time and writes its own file:
# one that fails, hangs or lacks a package costs the others nothing. The log ends with what became of each.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

: "${PYTHON:=python3}" "${OUT:=$root/benchmarks/results}" "${BUDGET:=530}"
mkdir -p "$OUT"
export PYTHONPATH="$root:$root/tests" PYTHONUNBUFFERED=1
# torch wants a share of the memory, and the tests' workers too.
export XLA_PYTHON_CLIENT_PREALLOCATE=false TF_CPP_MIN_LOG_LEVEL=2
log="$OUT/gpu-visit.log"
summary=()
failed=0
: >"$log"

# part LIMIT NAME COMMAND...: at most LIMIT seconds, and no longer than the whole visit has left.
part() {
  local limit=$1 name=$2 status=0 start=$SECONDS
  shift 2
  ((limit > BUDGET - SECONDS)) && limit=$((BUDGET - SECONDS))
  if ((limit < 10)); then
    summary+=("left out  $name: no time") failed=1
    return
  fi
  printf '\n=== %s (at most %d s): %s\n' "$name" "$limit" "$*" | tee -a "$log"
  timeout --kill-after=15s "$limit" "$@" </dev/null 2>&1 | tee -a "$log" || status=$?
  if ((status == 0)); then
    summary+=("ok        $name ($((SECONDS - start)) s)")
  else
    summary+=("FAILED    $name (status $status, $((SECONDS - start)) s)") failed=1
  fi
}

bench() {
  [[ -e benchmarks/$2.py || -d benchmarks/$2 ]] || { summary+=("absent    $2"); return; }
  part "$1" "$2" "$PYTHON" -m benchmarks.run --out "$OUT" "$2"
}

part 60 machine "$PYTHON" -c '
import jax
print(jax.__version__, jax.devices())
assert jax.devices()[0].platform != "cpu", "jax sees no accelerator"
try:
    import torch
    print("torch", torch.__version__, torch.cuda.is_available())
except ImportError:
    print("no torch")
'
command -v nvidia-smi >/dev/null && nvidia-smi 2>&1 | tee -a "$log"

# What matters most comes first.
bench 240 throughput
bench 90 train_step
bench 60 hand_kernels
bench 30 eager
bench 30 compiled
# The laws and the draws where they will be used: on the GPU. Laws of sharding need eight devices.
part 120 'tests on the GPU' env JAX_PLATFORMS=cuda,cpu "$PYTHON" -m pytest -q --maxfail=20 -p no:cacheprovider -n 4 \
  tests/test_stream.py tests/test_sample.py tests/test_continuous.py tests/test_masking.py tests/laws/test_contract.py \
  tests/laws/test_randomness.py
bench 60 scaling
part 200 'tests on the CPU' env JAX_PLATFORMS=cpu "$PYTHON" -m pytest -q -p no:cacheprovider -n "$(nproc)" tests \
  --deselect tests/test_examples.py

printf '\n=== summary, %d s\n' "$SECONDS" | tee -a "$log"
printf '%s\n' "${summary[@]}" | tee -a "$log"
exit "$failed"
