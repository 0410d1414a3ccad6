"""Published scores for comparison: PSNR (dB), SAM (degrees), ERGAS, SSIM; None where not known here."""

from __future__ import annotations

PublishedScores = tuple[float, float | None, float | None, float | None]

# From second-hand tables; standard deviations are not known. All trained on the full data.
PUBLISHED: dict[tuple[str, int], dict[str, PublishedScores]] = {
    ("cave", 4): {
        "FeINFN": (52.47, 1.91, 0.98, 0.998),
        "BDT": (52.30, None, None, None),
        "3DT-Net": (51.38, None, None, None),
        "DSPNet": (51.18, None, None, None),
        "DHIF": (51.07, None, None, None),
        "MIMO-SST": (50.98, None, None, None),
        "PSRT": (50.47, None, None, None),
        "SFNO (split dhif)": (52.71, None, None, None),
    },
    ("cave", 8): {"SFNO (split dhif)": (50.04, None, None, None)},
    ("harvard", 4): {
        "FeINFN": (49.06, 2.10, 1.78, 0.989),
        "BDT": (48.83, None, None, None),
        "DSPNet": (48.29, None, None, None),
        "HSRNet": (48.29, None, None, None),
    },
    ("harvard", 8): {},
}

# Where a score was first published. They are cited from compilations of the papers' tables.
REFERENCES = {
    "FeINFN": "Liang et al., NeurIPS 2024",
    "BDT": "Deng et al., IJCAI 2023",
    "3DT-Net": "Ma et al., Information Fusion 2023",
    "DSPNet": "Sun et al., IEEE TGRS 2023",
    "DHIF": "Huang et al., IEEE TCI 2022",
    "MIMO-SST": "Fang et al., IEEE TGRS 2024",
    "PSRT": "Deng et al., IEEE TGRS 2023",
    "HSRNet": "Hu et al., IEEE TNNLS 2022",
    "SFNO (split dhif)": "the page of its program, weili419/SFNO",
}

# Parameters of the released program at 31 and 3 bands, counted by building it.
FEINFN_PARAMETERS = 3_164_816
