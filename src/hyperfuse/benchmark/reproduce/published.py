"""Published scores for comparison: PSNR (dB), SAM (degrees), ERGAS, SSIM; None where not known here."""

from __future__ import annotations

PublishedScores = tuple[float, float | None, float | None, float | None]

# All trained on the full data. ERGAS is left out where it does not fit its row's PSNR.
PUBLISHED: dict[tuple[str, int], dict[str, PublishedScores]] = {
    ("cave", 4): {
        "FeINFN": (52.47, 1.91, 0.98, 0.998),
        "BDT": (52.30, 1.93, 1.02, 0.997),
        "3DT-Net": (51.38, 2.16, 1.14, 0.996),
        "DSPNet": (51.18, 2.15, 1.13, 0.997),
        "DHIF": (51.07, 2.01, 1.22, 0.997),
        "MIMO-SST": (50.98, 2.23, 1.18, 0.997),
        "PSRT": (50.47, 2.19, None, 0.996),
        "Fusformer": (44.52, 4.12, None, 0.983),
        "SFNO (split dhif)": (52.71, None, None, None),
    },
    ("cave", 8): {
        "MoG-DCN": (49.21, 2.44, 0.76, 0.996),
        "DHIF": (48.46, 2.50, 0.83, 0.996),
        "Fusformer": (47.96, 2.75, 1.45, 0.990),
        "HSRNet": (46.69, 2.91, 0.93, 0.994),
        "SSRNet": (46.23, 3.13, 1.05, 0.993),
        "TFNet": (43.77, 3.49, 1.38, 0.992),
        "CSTF-FUS": (38.44, 7.00, 2.11, 0.959),
        "LTMR": (38.41, 5.04, 2.24, 0.974),
        "LTTR": (37.92, 5.37, 2.44, 0.972),
        "IR-TenSR": (36.79, 12.87, 2.68, 0.944),
        "SFNO (split dhif)": (50.04, None, None, None),
    },
    ("harvard", 4): {
        "FeINFN": (49.06, 2.10, 1.78, 0.989),
        "BDT": (48.83, 2.07, 1.83, 0.989),
        "DSPNet": (48.29, 2.30, 1.93, 0.988),
        "HSRNet": (48.29, 2.26, 1.87, 0.988),
    },
    ("harvard", 8): {
        "SSRNet": (45.76, 2.99, 1.34, 0.983),
        "MoG-DCN": (45.14, 3.19, 1.75, 0.980),
        "DHIF": (45.00, 3.70, 1.32, 0.983),
        "Fusformer": (44.93, 3.63, 1.49, 0.979),
        "HSRNet": (44.02, 3.64, 1.49, 0.980),
        "TFNet": (43.50, 3.53, 1.74, 0.979),
        "LTMR": (42.09, 3.62, 1.80, 0.959),
        "LTTR": (42.09, 3.62, 1.80, 0.960),
        "IR-TenSR": (40.04, 5.40, 4.75, 0.958),
        "CSTF-FUS": (39.84, 4.49, 2.40, 0.932),
    },
}

_COMPILED = (
    "a compilation of the tables of one group (FeINFN, BDT, PSRT), second-hand: the row of Fusformer is doubtful, and"
    " ERGAS is left out where it does not fit"
)
_LE_MAMBA = (
    "Cao et al., ACM MM 2024 (LE-Mamba), Table 3, of the same group: its row ResTFNet is TFNet by its size, and its"
    " SSRNet and MoG-DCN are copies that differ from their authors' programs"
)
_SFNO = "SFNO from the page of its program, weili419/SFNO, on another degradation and split"

# Where scores were read.
SOURCES: dict[tuple[str, int], str] = {
    ("cave", 4): f"{_COMPILED}; {_SFNO}",
    ("cave", 8): f"{_LE_MAMBA}; {_SFNO}",
    ("harvard", 4): f"{_COMPILED}; their test scenes are not known",
    ("harvard", 8): f"{_LE_MAMBA}; their test scenes are not known",
}

# Papers of what was scored.
REFERENCES = {
    "FeINFN": "Liang et al., NeurIPS 2024",
    "BDT": "Deng et al., IJCAI 2023",
    "3DT-Net": "Ma et al., Information Fusion 2023",
    "DSPNet": "Sun et al., IEEE TGRS 2023",
    "DHIF": "Huang et al., IEEE TCI 2022",
    "MIMO-SST": "Fang et al., IEEE TGRS 2024",
    "PSRT": "Deng et al., IEEE TGRS 2023",
    "Fusformer": "Hu et al., IEEE GRSL 2022",
    "MoG-DCN": "Dong et al., IEEE TIP 2021",
    "SSRNet": "Zhang et al., IEEE TGRS 2021",
    "TFNet": "Liu et al., Information Fusion 2020",
    "HSRNet": "Hu et al., IEEE TNNLS 2022",
    "CSTF-FUS": "Li et al., IEEE TIP 2018",
    "LTTR": "Dian et al., IEEE TNNLS 2019",
    "LTMR": "Dian and Li, IEEE TIP 2019",
    "IR-TenSR": "Xu et al., IEEE TGRS 2022",
    "SFNO (split dhif)": "the page of its program, weili419/SFNO",
}

# What this package calls them.
LABELS = {
    "feinfn": "FeINFN",
    "feinfn-release": "FeINFN",
    "bdt": "BDT",
    "3dt-net": "3DT-Net",
    "dspnet": "DSPNet",
    "dhif": "DHIF",
    "mimo-sst": "MIMO-SST",
    "psrt": "PSRT",
    "fusformer": "Fusformer",
    "mog-dcn": "MoG-DCN",
    "ssrnet": "SSRNet",
    "tfnet": "TFNet",
    "hsrnet": "HSRNet",
    "cstf": "CSTF-FUS",
    "lttr": "LTTR",
    "ltmr": "LTMR",
    "ir-tensr": "IR-TenSR",
}

# Parameters of the released program at 31 and 3 bands, counted by building it.
FEINFN_PARAMETERS = 3_164_816
