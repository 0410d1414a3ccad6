#!/usr/bin/env bash
# FeINFN on a GPU: its CUDA tests, its timings against the literal form of the released program, training of features for
# the default method, then training of the network for the rest of the time.
#
#     bash benchmarks/gpu.sh DATA OUT [SECONDS]
#
# DATA     a file of packed scenes, as `hyperfuse data pack CAVE FILE` writes it
# OUT      a folder: log.txt (everything), train/model (weights for hyperfuse.from_pretrained), timings.json, compiled.json,
#          profile.txt, train/train.json, train/scores.md, features/ (features.safetensors, checkpoints, scores-*.md)
# SECONDS  of all parts together [570]
#
# Needs python3 with torch, numpy, scipy, pyyaml, safetensors, affine and pydantic; wheels of what is missing may lie in WHEELS
# [.gpu/wheels]. DEVICE=cpu with TRIAL=1 runs all parts on tiny sizes. A part that fails does not stop the next one.
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

export PYTHONUNBUFFERED=1 PYTHONPATH=$here/src
if ! "$python" -c 'import affine, pydantic' 2>/dev/null; then
  site=$(mktemp -d)
  "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl
  export PYTHONPATH=$here/src:$site
fi
# Compiled code is shared by the timings and the training.
export TORCHINDUCTOR_CACHE_DIR=${TORCHINDUCTOR_CACHE_DIR:-$(mktemp -d)}
nvidia-smi 2>/dev/null
"$python" -c 'import torch, sys; print(sys.version, torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())'

trial=() train=() learn=(--seconds 90) tests=90 timings=110 compiled=100 features=190
if [ -n "${TRIAL:-}" ]; then
  trial=(--size 32 --large 64 --patches 1 --seconds 0.02 --width 8)
  train=(--width 8 --scenes 1 --side 96 --batch 1 --every 10 --check 2)
  learn=(--seconds 4 --scenes 6 --side 96 --pixels 3000 --workers 1)
fi

cd "$here" || exit 2
part $tests "$python" -m pytest -q -p no:cacheprovider --confcutdir=tests/networks tests/networks/test_cuda.py
part $timings "$python" benchmarks/feinfn_gpu.py --device "$device" "${trial[@]}" --json "$out/timings.json" --profile "$out/profile.txt"
part $compiled "$python" benchmarks/feinfn_gpu.py --device "$device" "${trial[@]}" --compiled --json "$out/compiled.json"

# Scenes are prepared by as many processes as there are cores: 12 s of a core for each.
part $features "$python" benchmarks/feature_training.py "$data" "$out/features" --device "$device" \
  --prepared "$(mktemp -d)" "${learn[@]}"

# Compiled where that made a training step at least a sixth faster.
choice=$("$python" - "$out" <<'PYTHON'
import json, pathlib, sys
try:
    found = {}
    for name in ("timings.json", "compiled.json"):
        found.update(json.loads((pathlib.Path(sys.argv[1]) / name).read_text())["entries"])
    eager = next(v[0] for k, v in found.items() if k.startswith("training step") and k.endswith("bfloat16, feinfn"))
    fast = next(v[0] for k, v in found.items() if k.startswith("compiled training step"))
    print("--compiled" if fast < eager / 1.2 else "")
except Exception:
    print("")
PYTHON
)
# The last 50 seconds are for loading the libraries and scoring whole scenes.
rest=$(($(left) - 50))
[ "$rest" -lt 5 ] && rest=5
part $((rest + 50)) "$python" benchmarks/feinfn_train.py "$data" "$out/train" --device "$device" --seconds "$rest" $choice "${train[@]}"
echo "== $(date +%T) done after $((total - $(left))) s"
