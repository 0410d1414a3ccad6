#!/usr/bin/env bash
# FeINFN on a GPU: its CUDA tests and its timings against the literal form of the released program; then, at the same
# time, training of features for the default method, and of the paper's rows and ablations.
#
#     bash benchmarks/gpu.sh DATA OUT [SECONDS]
#
# DATA     a file of packed scenes, as `hyperfuse data pack CAVE FILE` writes it
# OUT      a folder: log.txt (everything), timings.json, compiled.json, profile.txt, features/ (features.safetensors,
#          checkpoints, scores-*.md), rows.json (rows and ablations: scores,
#          patches seen, time, machine), weights-x4.safetensors, weights-x8.safetensors (the rows' networks of one
#          fold in half precision)
# SECONDS  of all parts together [570]
#
# Needs python3 with torch, numpy, scipy, pyyaml, safetensors, affine and pydantic; wheels of what is missing may lie in WHEELS
# [.gpu/wheels]. DEVICE=cpu with TRIAL=1 runs all parts on tiny sizes. A part that fails does not stop the next one. What
# rows and ablations continue from lies in STATE [a new folder]; benchmarks/paper_pages.py makes their pages of rows.json.
set -u
data=$1 out=$2 total=${3:-570}
here=$(cd "$(dirname "$0")/.." && pwd)
device=${DEVICE:-cuda} wheels=${WHEELS:-$here/.gpu/wheels} python=${PYTHON:-python3}
mkdir -p "$out"
exec > >(tee "$out/log.txt") 2>&1
began=$(date +%s)
left() { echo $((total - $(date +%s) + began)); }
part() { # part SECONDS COMMAND...: run for at most SECONDS of what is left
  local limit=$1 rest
  shift
  rest=$(left)
  [ "$limit" -gt "$rest" ] && limit=$rest
  [ "$limit" -lt 5 ] && { echo "== no time for: $*"; return 0; }
  echo "== $(date +%T) ($((total - rest)) s) $*"
  timeout --kill-after=10 "$limit" "$@" || echo "== ended with $?: $1 ${2:-}"
}

# Many processes share the device's memory.
export PYTORCH_CUDA_ALLOC_CONF=${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}
export PYTHONUNBUFFERED=1 PYTHONPATH=$here/src
if ! "$python" -c 'import affine, pydantic' 2>/dev/null; then
  site=$(mktemp -d)
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
  export PYTHONPATH=$here/src:$site
fi
nvidia-smi 2>/dev/null
"$python" -c 'import torch, sys; print(sys.version, torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())'

trial=() rows=() learn=(--workers 13 --seconds 30 --fold 0 --fold all --batch 32768) tests=90 timings=110 measuring=15 features=260
if [ -n "${TRIAL:-}" ]; then
  trial=(--size 32 --large 64 --patches 1 --seconds 0.02 --width 8)
  rows=(--width 8 --scenes 6 --side 64 --batch 1 --narrow-batch 1 --ablation-patches 2 --every 10 --check 2)
  learn=(--workers 2 --seconds 4 --scenes 6 --side 96 --pixels 3000 --fold 0 --fold all)
fi

cd "$here" || exit 2
part $tests "$python" -m pytest -q -p no:cacheprovider --confcutdir=tests/networks tests/networks/test_cuda.py
part $timings "$python" benchmarks/feinfn_gpu.py --device "$device" "${trial[@]}" --json "$out/timings.json" --profile "$out/profile.txt"
# Compiling takes minutes of one core: it goes on next to the training, what was compiled is measured when that has ended.
go=$(mktemp -d)/go
compiled() {
  part 600 nice -n 5 "$python" benchmarks/feinfn_gpu.py --device "$device" "${trial[@]}" --compiled "$go" \
    --json "$out/compiled.json" --profile "$out/profile.txt"
}
compiled &
compiler=$!
total=$((total - measuring))

# Scenes are prepared by nearly as many processes as there are cores, in 12 s of a core for each.
features() {
  part $features "$python" benchmarks/feature_training.py "$data" "$out/features" --device "$device" \
    --prepared "$(mktemp -d)" "${learn[@]}"
}
# Rows and ablations end by themselves when their time is over; the seconds after it are for the last scores.
paper() {
  local rest=$(($(left) - 25))
  [ "$rest" -lt 30 ] && rest=30
  part $((rest + 20)) "$python" benchmarks/paper_rows.py "$data" "$out" --device "$device" --seconds "$rest" \
    --state "${STATE:-$(mktemp -d)}" "${rows[@]}"
}
features &
first=$!
paper &
wait "$first" $!
total=$((total + measuring))
touch "$go"
wait "$compiler"
echo "== $(date +%T) done after $((total - $(left))) s"
