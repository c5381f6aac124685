#!/usr/bin/env bash
# Run every benchmark and then the tests on a machine with a GPU, in less than nine minutes and without a network.
#
#   benchmarks/gpu_visit.sh                    every row of the results goes to $OUT, by default build/gpu-visit
#   PYTHON=.venv/bin/python OUT=/tmp/out benchmarks/gpu_visit.sh
#   python -m benchmarks.kept build/gpu-visit  afterwards: copy what the pages print into benchmarks/results
#
# It needs a Python with jax for the GPU, flax and optax; torch with triton to compare with torch; and pytest,
# hypothesis, chex, scipy and scikit-learn for the tests. Each part has its own time limit and writes its own file. One
# that fails, hangs or lacks a package does not affect the others. The log ends with a summary of all parts.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

: "${PYTHON:=python3}" "${OUT:=$root/build/gpu-visit}" "${BUDGET:=530}"
mkdir -p "$OUT"
export PYTHONPATH="$root:$root/tests" PYTHONUNBUFFERED=1
# torch and the tests' workers need a share of the memory.
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

# The most important part comes first.
bench 240 throughput
bench 90 train_step
bench 60 hand_kernels
bench 60 fused
bench 30 eager
bench 30 compiled
# The laws and the draws on the GPU. The laws of sharding need eight devices.
part 120 'tests on the GPU' env JAX_PLATFORMS=cuda,cpu "$PYTHON" -m pytest -q --maxfail=20 -p no:cacheprovider -n 4 \
  $(find tests -name test_stream.py -o -name test_sample.py -o -name test_fused_attention.py) tests/laws/test_contract.py tests/laws/test_randomness.py
bench 60 scaling
part 200 'tests on the CPU' env JAX_PLATFORMS=cpu "$PYTHON" -m pytest -q -p no:cacheprovider -n "$(nproc)" tests \
  --deselect "$(find tests -name test_examples.py)"

printf '\n=== summary, %d s\n' "$SECONDS" | tee -a "$log"
printf '%s\n' "${summary[@]}" | tee -a "$log"
exit "$failed"
