#!/usr/bin/env bash
# Renews every file of benchmarks/results on this machine, then the tables of the README: hours, one thread.
#
#   CAVE=FOLDER FEATURES=FOLDER bash benchmarks/all.sh DATA [LARGE]
#
# DATA is described in benchmarks/scenes.py; in LARGE, a folder with 40 GB of room, the two large jobs are done too.
# FEATURES holds, or gets, what benchmarks/feature_training.py makes of CAVE, a folder of that dataset: without it, tables
# of scenes that the features of the default method were trained on are not renewed.
# A file that states the present version and commit of src is left as it is (default.py knows each of its parts), so a
# call that was interrupted continues.
# What fails is named at the end, and the exit code is 1.
set -uo pipefail
data=$(realpath "${1:?usage: bash benchmarks/all.sh DATA [LARGE]}") large=${2:-}
cd "$(dirname "$0")/.."
python=$(realpath -s "${PYTHON:-.venv/bin/python}")
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
results=benchmarks/results failed=()
present=$("$python" -c 'import sys; sys.path.insert(0, "benchmarks"); import recording; print(recording.source())')

renew() {  # FILE SCRIPT ARGUMENT...: run the script unless its results file is of the present source
    local file=$results/$1 started=$SECONDS
    shift
    if [ -e "$file" ] && [ "$1" != default.py ] && grep -qF "$present," "$file" && [[ $present != *changes* ]]; then
        echo "present: $file"
        return
    fi
    echo "$(date +%H:%M) $file: python benchmarks/$*"
    if nice -n 10 "$python" benchmarks/"$@"; then echo "done in $((SECONDS - started)) s: $file"; else failed+=("$file"); fi
}

for table in cave-x4 cave-x8 remote-x4 enmap-x3 paris-x3; do renew $table.md classical.py "$data" --table $table; done
renew compared-classical.md compared_classical.py "$data"
tables=(paris-x3 enmap-x4 remote-x4) cave=() default=(default.py "$data")
if [ -n "${FEATURES:-}" ]; then
    cave=(cave-x4 cave-x8 dhif-x4) default+=(--features "$FEATURES")
    features=(feature_training.py "${CAVE:?the folder of the dataset that features are trained on}" "$FEATURES")
    renew trained-features.md "${features[@]}" --also 8-uestc --also 4-dhif --record $results/trained-features.md
    for table in cave20-x4 cave20-x8; do
        renew default-$table.md "${default[@]}" --table $table --part linear --part default
    done
fi
for table in "${tables[@]}" "${cave[@]}"; do renew default-$table.md "${default[@]}" --table $table; done
for table in enmap-x4 remote-x4 "${cave[@]::1}"; do
    for snr in 30 20; do renew default-$table-${snr}db.md "${default[@]}" --table $table --snr $snr; done
done
renew robustness.md robustness.py "$data"
renew calibration.md calibration.py "$data"
renew budget.md budget.py "$data"
renew ablation.md ablation.py "$data" --steps 200
renew several.md several.py "$data" --method local-regression
renew registration.md registration.py "$data"
renew psf-priors.md psf_priors.py "$data"
for part in paris shifts sensor; do renew blind-$part.md blind.py "$data" --part $part; done
renew tiles.md tiles.py "$data"
renew recipes.md recipes.py "$data" --patches 1600 --width 32 --threads 1
if "$python" -c 'import HyperEvalSR' 2>/dev/null; then
    renew cnmf.md cnmf.py "$data"/remote/jasper_ridge.mat "$data"/remote/samson.mat --repeats 5 --markdown $results/cnmf.md
else
    echo "left out: $results/cnmf.md needs pip install '.[peers]'"
fi
if "$python" -c 'import os, sys; sys.exit(not os.path.isdir(".peers/hyperbench"))'; then
    renew hyperbench.md peer_hyperbench.py --markdown $results/hyperbench.md
else
    echo "left out: $results/hyperbench.md needs make peers"
fi
renew compared-networks.md compared_networks.py "$data"/golden --markdown $results/compared-networks.md
renew compared-training.md compared_training.py "$data"/cave-unpacked runs --score
renew feinfn-gpu.md feinfn_gpu_table.py  # of what benchmarks/gpu.sh measured
renew paper-rows.md paper_pages.py  # of what benchmarks/gpu.sh recorded
renew network-ablation.md paper_pages.py
renew training.md training.py --device cpu --threads 1 --markdown $results/training.md
renew feinfn-cpu-one-core.md feinfn.py --threads 1 --repeats 2 --scenario "forward 512 x4" --markdown $results/feinfn-cpu-one-core.md
OMP_NUM_THREADS=2 renew feinfn-cpu.md feinfn.py --threads 2 --repeats 2 --scenario "training 4x64 x4" --scenario "forward 256 x4" \
    --scenario "forward 512 x4" --scenario "forward 512 x8" --markdown $results/feinfn-cpu.md
if [ -n "$large" ]; then
    renew large.md large.py all --folder "$large" --record $results/large.md
    default=(large.py dense --workers 1 --threads 2 --method feinfn --folder "$large")
    OMP_NUM_THREADS=2 renew large-768.md "${default[@]}" --size 768 --record $results/large-768.md
    OMP_NUM_THREADS=2 renew large-3000.md "${default[@]}" --size 3000 --bands 224 --memory 3 --record $results/large-3000.md
fi
"$python" benchmarks/readme_tables.py
if [ ${#failed[@]} -gt 0 ]; then printf 'failed: %s\n' "${failed[@]}"; exit 1; fi
