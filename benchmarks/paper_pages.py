"""Write the pages of the paper's rows and of its ablations from what `paper_rows.py` recorded.

    python benchmarks/paper_pages.py [ROWS.JSON]

ROWS.JSON, the file that `paper_rows.py` wrote, is kept as benchmarks/results/paper-rows.json; without it, that file is
read. Next to each network's score stands what the default's linear part gives on the same scenes without training
(benchmarks/results/default-cave20-xRATIO.json), and the interpolated HSI that the network adds to.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hyperfuse.benchmark.reproduce.published import PUBLISHED
from hyperfuse.benchmark.reproduce.results import Check
from hyperfuse.benchmark.weights import describe_training
from hyperfuse.io.encoding.atomic import replacing
from hyperfuse.networks import create_network
from network_training import BANDS, METRICS, MSI_BANDS
from paper_entries import NETWORKS, PROPOSED, RATIOS, SEEDS, TABLES, ablation, slug
from recording import RESULTS, made_by

Record = dict[str, Any]
Records = Mapping[str, Record]
STORED = "paper-rows.json"
_LEAST_DB = 0.1  # above the image that it adds to: below, a network has learnt nothing
_FORMATS = (".2f", ".3f", ".3f", ".4f")
# With the digits that were published.
_PUBLISHED_FORMATS = (".2f", ".2f", ".2f", ".3f")
_PARTS = {"linear": "linear part", "default": "default"}


def cell(scores: Mapping[str, float] | None) -> str:
    """Return PSNR / SAM / ERGAS / SSIM that were measured."""
    if scores is None:
        return "-"
    return " / ".join(f"{scores[metric]:{form}}" for metric, form in zip(METRICS, _FORMATS, strict=True))


def published(ratio: int) -> str:
    """Return PSNR / SAM / ERGAS / SSIM that were published for FeINFN on CAVE.

    Example:
        >>> published(4), published(8)
        ('52.47 / 1.91 / 0.98 / 0.998', '-')
    """
    scores = PUBLISHED["cave", ratio].get("FeINFN", ())
    cells = [f"{value:{form}}" for value, form in zip(scores, _PUBLISHED_FORMATS, strict=False) if value is not None]
    return " / ".join(cells) or "-"


def mean(scores: Mapping[str, Mapping[str, float]], scenes: Sequence[str]) -> dict[str, float]:
    """Return the mean over scenes of each metric."""
    return {metric: statistics.fmean(scores[scene][metric] for scene in scenes) for metric in METRICS}


def default_scores(ratio: int, part: str) -> dict[str, dict[str, float]]:
    """Return the scores by scene of a part of the default method, by what no scene of its fold has taught."""
    stored = json.loads((RESULTS / f"default-cave20-x{ratio}.json").read_text("utf-8"))
    return {scene: row[part] for scene, row in stored.items() if part in row}


def scored(records: Records, part: str) -> list[Record]:
    """Return the records of a part that were finished, and have scores."""
    return [record for record in records.values() if record["entry"]["part"] == part and record["finished"]]


def rows_page(records: Records) -> list[str]:
    """Return the lines of the page of the paper's rows."""
    found = scored(records, "rows")
    others = {(ratio, part): default_scores(ratio, part) for ratio in RATIOS for part in _PARTS}
    lines = [
        "# The paper's rows, trained here",
        "",
        "FeINFN in both variants, from random weights and without a base, on crops of 64x64 of 16 of the 20 training "
        "scenes of CAVE (preset `uestc`, Nikon D700), scored on the four whole scenes that the fold keeps out. PSNR in "
        "dB / SAM in degrees / ERGAS / SSIM, means over these scenes.",
        "",
        "| network | ratio | fold | weights | network's score | bicubic, to which it adds | linear part, untrained"
        " | default | published |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for ratio in RATIOS:
        for network in NETWORKS:
            chosen = [one for one in found if (one["entry"]["network"], one["entry"]["ratio"]) == (network, ratio)]
            for one in sorted(chosen, key=lambda one: one["entry"]["fold"]):
                scenes = one["held_out"]
                cells = [
                    f"{network}{width_of(one)}",
                    f"x{ratio}",
                    str(one["entry"]["fold"]),
                    describe_training(one),
                    cell(mean(one["scores"]["network"], scenes)),
                    cell(mean(one["scores"]["bicubic"], scenes)),
                    *(cell(mean(others[ratio, part], scenes)) for part in _PARTS),
                    published(ratio),
                ]
                lines.append(f"| {' | '.join(cells)} |")
    below = [
        mean(others[one["entry"]["ratio"], "linear"], one["held_out"])["psnr_db"]
        - mean(one["scores"]["network"], one["held_out"])["psnr_db"]
        for one in found
    ]
    lines += [
        "",
        f"Each network lies {min(below):.1f} to {max(below):.1f} dB below the linear part on the same scenes.",
        "",
        "Published: after 7.84 million patches of all 20 scenes, scored on the 11 test scenes of the split, which are "
        "not among these; where there is none, the paper's figure is not known. The linear part learns "
        "from the pair that it fuses, and from nothing else; the default adds a regression with features that were "
        "trained on scenes of the other folds.",
        "",
        *(f"Fold {fold} keeps out {', '.join(scenes)}." for fold, scenes in sorted(folds_of(found).items())),
    ]
    titles = ["scene", "ratio", *NETWORKS, "bicubic", *_PARTS.values()]
    lines += ["", "## By scene", "", f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for ratio in RATIOS:
        for fold, scenes in sorted(folds_of(found).items()):
            here = {
                one["entry"]["network"]: one["scores"]
                for one in found
                if (one["entry"]["ratio"], one["entry"]["fold"]) == (ratio, fold)
            }
            for scene in scenes if here else ():
                some = next(iter(here.values()))
                cells = [cell(here[name]["network"][scene]) if name in here else "-" for name in NETWORKS]
                cells += [cell(some["bicubic"][scene]), *(cell(others[ratio, part].get(scene)) for part in _PARTS)]
                lines.append(f"| {scene} | x{ratio} | {' | '.join(cells)} |")
    lines += ["", *how_trained(found)]
    return [*lines, *unfinished(records, "rows"), *calls()]


def ablation_page(records: Records) -> list[str]:
    """Return the lines of the page of the ablations."""
    finished = scored(records, "ablation")
    found = [one for one in finished if learnt(one)]
    some = found[0]
    scenes, ratio, patches = some["held_out"], some["entry"]["ratio"], some["patches"]
    start = mean(some["scores"]["bicubic"], scenes)
    by_variant: dict[str, list[Record]] = {}
    for one in found:
        by_variant.setdefault(variant_of(one), []).append(one)
    lines = [
        "# The paper's ablations, trained here",
        "",
        f"Narrow networks (width {some['entry']['options']['width']}; the paper's has 128) from random weights, each "
        f"on {patches:,} crops of 64x64 of 16 scenes of CAVE, x{ratio}, preset `uestc`, Nikon D700; scored on "
        f"{', '.join(scenes)}, which are kept out. Mean over these scenes, then mean and standard deviation over the "
        "seeds of weights and crops, those with which all variants of a table were trained. All networks of a seed "
        "were trained on one machine, and are compared with each other: an order is decided where the mean of the "
        "differences is larger than their deviation over the seeds.",
        "",
        f"The interpolated HSI, to which each adds, has {cell(start)}; the default's linear part, untrained, "
        f"{cell(mean(default_scores(ratio, 'linear'), scenes))} on the same scenes (PSNR in dB / SAM in degrees / "
        "ERGAS / SSIM).",
    ]
    for table, variants in TABLES.items():
        lines += ["", f"## {table[0].upper()}{table[1:]}", "", "| variant | PSNR, dB | SAM, degrees | ERGAS | SSIM "]
        lines[-1] += "| parameters | seeds |"
        lines.append("| --- | --- | --- | --- | --- | --- | --- |")
        psnr: dict[str, list[float]] = {}
        names = {name: slug(name) if switches else PROPOSED for name, switches in variants.items()}
        of_table = {name: by_variant.get(file, []) for name, file in names.items()}
        # The same seeds for all variants of a table.
        seeds = set.intersection(*({seed_of(one) for one in chosen} for chosen in of_table.values()))
        if not seeds:
            lines[-2:] = ["Not all variants were trained."]
            continue
        for name, every in of_table.items():
            chosen = sorted((one for one in every if seed_of(one) in seeds), key=seed_of)
            means = [mean(one["scores"]["network"], scenes) for one in chosen]
            psnr[name] = [one["psnr_db"] for one in means]
            columns = zip(METRICS, _FORMATS, strict=True)
            cells = [spread([one[metric] for one in means], form) for metric, form in columns]
            lines.append(f"| {name} | {' | '.join(cells)} | {parameters(chosen[0]):,} | {len(chosen)} |")
        proposed = next(name for name, switches in variants.items() if not switches)
        lines += ["", *(f"- {check}" for check in orders(psnr, proposed))]
    planned = ablation(patches)
    lines += [
        "",
        f"{len(finished)} of {len(planned)} trainings were finished: {len(SEEDS)} seeds were planned of each.",
    ]
    if stuck := sorted(str(one["name"]) for one in finished if not learnt(one)):
        lines[-1] += f" Left out, because they learnt nothing (within {_LEAST_DB} dB of the start): {', '.join(stuck)}."
    lines += ["", *how_trained(found)]
    return [*lines, *unfinished(records, "ablation"), *calls(found)]


def orders(psnr: Mapping[str, Sequence[float]], proposed: str) -> list[Check]:
    """Return whether the proposed variant is above each other one, compared seed by seed.

    It is decided where the mean difference exceeds the deviation of the differences.

    Args:
        psnr: of each variant, dB, in the same order of seeds.
        proposed: that of the paper.

    Example:
        >>> [check.holds for check in orders({"A": [41.0, 41.2], "B": [40.0, 40.2], "C": [41.0, 41.3]}, "A")]
        [True, None]
    """
    checks = []
    for name, values in psnr.items():
        if name == proposed:
            continue
        differences = [ours - other for ours, other in zip(psnr[proposed], values, strict=True)]
        difference = statistics.fmean(differences)
        measured, holds = f"difference {difference:.2f} dB", None
        if len(values) > 1:
            deviation = statistics.stdev(differences)
            measured += f", deviation {deviation:.2f} dB"
            holds = difference > 0 if abs(difference) > deviation else None
        else:
            measured += ", one seed"
        checks.append(Check(f"{proposed} above {name}", holds, measured, "order"))
    return checks


def learnt(record: Record) -> bool:
    """Return whether a network is better on the scenes kept out than the image that it adds to."""
    network, start = (mean(record["scores"][name], record["held_out"])["psnr_db"] for name in ("network", "bicubic"))
    return network > start + _LEAST_DB


def seed_of(record: Record) -> int:
    """Return the seed of weights and crops."""
    return int(record["entry"]["seed"])


def unfinished(records: Records, part: str) -> list[str]:
    """Return a sentence on trainings that were cut off."""
    names = sorted(name for name, one in records.items() if one["entry"]["part"] == part and not one["finished"])
    return ["", f"Cut off, and in no table: {', '.join(names)}."] if names else []


def spread(values: Sequence[float], form: str) -> str:
    """Return mean and standard deviation.

    Example:
        >>> spread([1.0, 2.0, 3.0], ".2f")
        '2.00 ± 1.00'
    """
    first = f"{statistics.fmean(values):{form}}"
    return f"{first} ± {statistics.stdev(values):{form}}" if len(values) > 1 else first


def variant_of(record: Record) -> str:
    """Return the variant of an ablation."""
    return str(record["name"]).rpartition("-seed")[0]


def width_of(record: Record) -> str:
    """Return the width of a network that is not of full width, in words."""
    width = record["entry"]["options"].get("width")
    return "" if width is None else f", width {width}"


def parameters(record: Record) -> int:
    """Return the number of parameters of a network."""
    network = create_network(
        record["entry"]["network"], hsi_bands=BANDS, msi_bands=MSI_BANDS, **record["entry"]["options"]
    )
    return sum(parameter.numel() for parameter in network.parameters())


def folds_of(found: Sequence[Record]) -> dict[int, list[str]]:
    """Return the scenes of each fold."""
    return {one["entry"]["fold"]: one["held_out"] for one in found}


def how_trained(found: Sequence[Record]) -> list[str]:
    """Return sentences on recipe and machines, with the seeds that each has trained where there are several."""
    recipes = sorted(
        {
            f"Batches of {one['batch']}, AdamW with one cycle of the learning rate up to {one['rate']:g}, gradients "
            "normalised, a moving average of the weights; L1 + 0.1 (1 - SSIM); each "
            f"scene in {one['orientations']} orientation{'' if one['orientations'] == 1 else 's'}; the output layer "
            "starts at zero. The last average is scored, in float32; scores of scenes kept out chose nothing."
            for one in found
        }
    )
    machines: dict[str, set[int]] = {}
    for one in found:
        machine = f"{one['machine']}, products in {one['precision']}, torch {one['torch']}, {one['source']}"
        machines.setdefault(machine, set()).add(seed_of(one))
    lines = [*recipes, "", "Trained on, several at a time:", ""]
    for machine, seeds in sorted(machines.items(), key=lambda item: min(item[1])):
        of = f" (seed {', '.join(map(str, sorted(seeds)))})" if len(machines) > 1 else ""
        lines.append(f"- {machine}{of}")
    return lines


def calls(found: Sequence[Record] = ()) -> list[str]:
    """Return the last lines of a page; ``found`` are ablations of which some may have been trained on a processor."""
    lines = made_by("bash benchmarks/gpu.sh DATA OUT")
    if seeds := sorted({seed_of(one) for one in found if one["machine"].startswith("CPU")}):
        call = "    python benchmarks/paper_rows.py DATA OUT --device cpu --orientations 8 --part ablation --seeds"
        lines.append(f"{call} {' '.join(map(str, seeds))}")
    return [*lines, "    python benchmarks/paper_pages.py OUT/rows.json"]


def write(file: Path, lines: Sequence[str]) -> None:
    """Write a page."""
    with replacing(file) as scratch:
        scratch.write_text("\n".join(lines) + "\n", "utf-8")
    print(file)


def main() -> int:
    """Read, keep, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path, nargs="?", default=RESULTS / STORED, metavar="ROWS.JSON")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder to write to")
    args = parser.parse_args()
    records: dict[str, Record] = json.loads(args.records.read_text("utf-8"))
    records = {name: {**record, "name": name} for name, record in records.items()}
    # One training a line.
    stored = ",\n".join(f"{json.dumps(name)}: {json.dumps(record)}" for name, record in records.items())
    write(args.output / STORED, [f"{{\n{stored}\n}}"])
    if scored(records, "rows"):
        write(args.output / "paper-rows.md", rows_page(records))
    if scored(records, "ablation"):
        write(args.output / "network-ablation.md", ablation_page(records))
    return 0


if __name__ == "__main__":
    sys.exit(main())
