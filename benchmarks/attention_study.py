"""Which loss on the attention helps pictures? The last stage with each, in turn.

    python benchmarks/attention_study.py                      screening: one seed, 500 steps each
    python benchmarks/attention_study.py NAME ... [--final]   these alone; 2,000 steps, three seeds
    python benchmarks/attention_study.py --table              only the tables, of finished runs

All start from the shipped try-on baseline, with the same data, steps and batches; the 64 test
persons are dressed in their own garment and in another, whose true picture is known too. A setting
whose numbers stand in benchmarks/results/attention_study.json is not repeated.
"""

from collections.abc import Iterator

from trials import RESULTS, ROOT, Numbers, Trial, collect, run_trials, study_options, table

from leffa.io.atomic import write_text

NAME = "attention_study"
ALL, MATCHING, BEST = "all", "24x18", "best"
LAYERS = {  # of the ten; what training is told
    ALL: ["leffa_loss.layers=all", "leffa_loss.min_resolution=0.03125"],
    MATCHING: ["leffa_loss.layers=all", "leffa_loss.min_resolution=0.25"],  # three
    BEST: ["leffa_loss.layers=[up_blocks.2.attentions.1]"],
}
USUAL = [  # what a setting does not name
    *LAYERS[MATCHING],
    "leffa_loss.temperature=2.0",
    "leffa_loss.blur=0.05",
]
PUBLISHED_TEMPERATURE = "leffa_loss.temperature=1.0"  # of all losses but Leffa's
FULL = ["attention_loss.points=null"]  # every visible pixel has a label
# Without the blur that untrained attention needs: one layer of the baseline has learnt to match.
SHARP = [*LAYERS[BEST], PUBLISHED_TEMPERATURE, "leffa_loss.blur=0.01"]
# Each loss at weights that differ by ten, on the layers at the latent's resolution or the best.
RIVALS: dict[str, tuple[list[str], tuple[float, ...]]] = {
    "leffa_best_sharp": (SHARP, (0.1, 1.0)),
    "photometric": (["attention_loss=photometric", PUBLISHED_TEMPERATURE], (0.1, 1.0)),
    "matches": (["attention_loss=matches", PUBLISHED_TEMPERATURE], (0.001, 0.01, 0.1)),
    "all_matches": (["attention_loss=matches", *FULL, PUBLISHED_TEMPERATURE], (0.01, 0.1)),
    "coordinates": (
        ["attention_loss=matches", "attention_loss.space=coordinates", PUBLISHED_TEMPERATURE],
        (0.1, 1.0),
    ),
    "total_variation": (["attention_loss=total_variation", PUBLISHED_TEMPERATURE], (0.1, 1.0)),
    "entropy": (["attention_loss=entropy", PUBLISHED_TEMPERATURE], (0.01, 0.1)),
    "oracle": (["attention_loss=oracle", PUBLISHED_TEMPERATURE], (0.1, 1.0)),
    "oracle_best": (
        ["attention_loss=oracle", *LAYERS[BEST], PUBLISHED_TEMPERATURE],
        (0.1, 1.0),
    ),
}
STEPS, FINAL_STEPS, SEEDS = 500, 2000, 3
# The first persons of the baseline's own training set: more than the experiment's 600, to which
# 2,000 steps would fit the model.
DATA = ["data.root=${paths.data_dir}/synthetic_tryon_4000_96x72", "data.prepare.train=4000"]
LEARNING_RATE = 2.0e-4
EVALUATIONS = {
    word: [
        f"dataset=synthetic_tryon{suffix}",
        "protocol=leffa@2",
        "metrics=[ssim,psnr,interior_ssim,boundary_ssim,interior_ciede2000,leakage]",
        "sampler.steps=15",
        "inspect_layers=all",
        "inspect_temperature=1",  # as the network itself attends
    ]
    for word, suffix in (("paired", ""), ("unpaired", "_unpaired"))
}
HEADING = "loss, layers, weight"
COLUMNS = {
    "unpaired/paired/psnr": ("PSNR (dB) ↑", 2),
    "unpaired/paired/ssim": ("SSIM ↑", 3),
    "unpaired/fidelity/interior_ssim": ("interior SSIM ↑", 3),
    "unpaired/fidelity/boundary_ssim": ("boundary SSIM ↑", 3),
    "unpaired/fidelity/interior_ciede2000": ("colour ΔE ↓", 2),
    "paired/paired/psnr": ("own garment: PSNR (dB) ↑", 2),
    "paired/flow/epe_px": ("EPE, ten layers (px) ↓", 1),
}
for layer in ("down_blocks.0.attentions.0", "up_blocks.2.attentions.0", "up_blocks.2.attentions.1"):
    key = f"paired/flow_layers/{layer}.transformer_blocks.0.attn1/epe_px"
    COLUMNS[key] = (f"EPE {layer.replace('_blocks', '').replace('attentions.', '')}", 1)


def settings() -> dict[str, list[str]]:
    """What training is told, by the setting's name."""
    found = {"none": ["leffa_loss=off"]}
    for weight in (0.01, 0.1, 1.0):
        for layers, told in LAYERS.items():
            found[f"leffa_{layers}_{weight:g}"] = [*USUAL, *told, f"leffa_loss.weight={weight}"]
    for rival, (told, weights) in RIVALS.items():
        for weight in weights:
            found[f"{rival}_{weight:g}"] = [*USUAL, *told, f"leffa_loss.weight={weight}"]
    return found


def start() -> Trial:
    """The baseline from which all start."""
    told = {word: [*each, "ckpt=tryon_baseline"] for word, each in EVALUATIONS.items()}
    return Trial("start", 0, [], told)


def trials(names: list[str], steps: int, seeds: int) -> Iterator[Trial]:
    """By seed first, so that an interrupted study has whole columns."""
    told = settings()
    for seed in range(seeds):
        for name in names:
            training = [
                "experiment=tryon_synthetic",
                *DATA,
                f"curriculum.stages.0.steps={steps}",
                f"curriculum.stages.0.learning_rate={LEARNING_RATE}",
                f"curriculum.cooldown_steps={steps // 2}",
                "data.val_samples=0",
                f"seed={seed}",
                *told[name],
            ]
            yield Trial(f"{name}_{steps}_seed{seed}", steps, training, EVALUATIONS)


def rows(known: dict[str, Numbers], steps: int) -> dict[str, list[Numbers]]:
    """The finished runs of so many steps, by setting; the start is one whatever the steps."""
    named = {"start": "start", **{name: f"{name}_{steps}" for name in settings()}}
    return {
        name: [numbers for run, numbers in known.items() if run.partition("_seed")[0] == begins]
        for name, begins in named.items()
    }


def main() -> None:
    """Run what is missing; write the tables."""
    parser = study_options(__doc__, settings())
    parser.add_argument("--final", action="store_true")
    options = parser.parse_args()
    store, out = RESULTS / f"{NAME}.json", options.out or ROOT / "outputs" / NAME
    if not options.table:
        steps, seeds = (FINAL_STEPS, SEEDS) if options.final else (STEPS, 1)
        planned = [start(), *trials(options.names, steps, seeds)]
        run_trials(planned, store, out, options.at_a_time)
    known = collect(store, out)
    text = (
        "# Which loss on the attention helps pictures\n\n`python benchmarks/attention_study.py`\n\n"
        f"## {FINAL_STEPS} steps: mean (least to greatest) over the seeds\n\n"
        f"{table(HEADING, COLUMNS, rows(known, FINAL_STEPS))}\n"
        f"## Screening: {STEPS} steps, one seed\n\n"
        f"{table(HEADING, COLUMNS, rows(known, STEPS))}"
    )
    write_text(RESULTS / f"{NAME}.md", text)
    print(text)


if __name__ == "__main__":
    main()
