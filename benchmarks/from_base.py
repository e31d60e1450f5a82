"""What the loss on the attention does from the start of training, in each model.

    python benchmarks/from_base.py                      one seed
    python benchmarks/from_base.py NAME ... --seeds 3   these settings
    python benchmarks/from_base.py --table              only the tables, of finished runs

All start from the shipped base, which has learnt to denoise persons and garments and has seen no
pair of them, and train for the same steps on as many pairs; after Table 4 of the paper, whose code
was never released. Each is scored four times on the way, so that equal quality can be compared at
unequal steps. Numbers are kept in benchmarks/results/from_base.json; a setting that stands there is
not repeated.
"""

from collections.abc import Iterator

import attention_study
from trials import (
    RESULTS,
    ROOT,
    Numbers,
    Trial,
    collect,
    least_error,
    run_trials,
    study_options,
    table,
)

from leffa.io.atomic import write_text

NAME = "from_base"
STEPS, SCORED_AT = 1000, (250, 500, 750)
PERSONS = 4000  # so that no step sees a pair twice
MODELS = {  # experiment, the data set of training, what they are scored on
    "leffa": ("tryon_synthetic", "synthetic_tryon", "synthetic_tryon_unpaired"),
    "catvton": ("catvton_synthetic", "synthetic_tryon", "synthetic_tryon_unpaired"),
    "idm_vton": ("idm_vton_synthetic", "synthetic_tryon", "synthetic_tryon_unpaired"),
    "pose": ("pose_synthetic", "synthetic_pose", "synthetic_pose_unpaired"),
    "cfld": ("cfld_synthetic", "synthetic_pose", "synthetic_pose_unpaired"),
}
BEST = attention_study.LAYERS[attention_study.BEST]
BLURRED = ["leffa_loss.blur=0.05"]  # which the gradient needs from the base (loss_landscape.py)
LOSSES = {
    "none": ["leffa_loss=off"],
    "leffa_all": [
        *BLURRED,
        "leffa_loss.layers=all",
        "leffa_loss.temperature=2.0",
        "leffa_loss.weight=2.0",
    ],
    "leffa_best": [*BLURRED, *BEST, attention_study.PUBLISHED_TEMPERATURE, "leffa_loss.weight=1.0"],
    "oracle_best": attention_study.settings()["oracle_best_1"],
}
FROM_BASE = ["start_from=null", "curriculum=tiny", f"curriculum.stages.0.steps={STEPS}"]
HEADING = "model, loss"
COLUMNS = {
    "final/flow/epe_px": ("EPE, all layers (px) ↓", 1),
    "best_layer": ("best layer ↓", 1),
    "final/paired/psnr": ("PSNR (dB) ↑", 2),
    "final/paired/ssim": ("SSIM ↑", 3),
    "final/fidelity/interior_ssim": ("interior SSIM ↑", 3),
    "final/fidelity/interior_ciede2000": ("colour ΔE ↓", 2),
}
CURVE = {
    **{f"curve@{step}/paired/psnr": (f"{8 * step:,} images", 2) for step in SCORED_AT},
    "final/paired/psnr": (f"{8 * STEPS:,} images", 2),
}


def settings() -> dict[str, tuple[str, list[str]]]:
    """Model, and what training is told of the loss, by the setting's name."""
    return {f"{model}_{loss}": (model, told) for model in MODELS for loss, told in LOSSES.items()}


def trials(names: list[str], seeds: int) -> Iterator[Trial]:
    """By seed first, so that an interrupted study has whole columns."""
    for seed in range(seeds):
        for name in names:
            model, told = settings()[name]
            experiment, data, scored_on = MODELS[model]
            training = [
                f"experiment={experiment}",
                *FROM_BASE,
                f"curriculum.cooldown_steps={STEPS // 2}",
                f"data.root=${{paths.data_dir}}/{data}_{PERSONS}_96x72",
                f"data.prepare.train={PERSONS}",
                "data.val_samples=0",
                "callbacks.checkpoint.every_n_train_steps=250",
                "callbacks.checkpoint.keep=8",  # and those of interruptions
                f"seed={seed}",
                *told,
            ]
            quick = [f"dataset={scored_on}", "protocol=leffa@2", "sampler.steps=15"]
            final = [*quick, "inspect_layers=all", "inspect_temperature=1"]
            garment = ",interior_ssim,interior_ciede2000" if "tryon" in scored_on else ""
            evaluations = {f"curve@{step}": [*quick, "metrics=[psnr]"] for step in SCORED_AT}
            evaluations["final"] = [*final, f"metrics=[ssim,psnr{garment}]"]
            yield Trial(f"{name}_seed{seed}", STEPS, training, evaluations)


def rows(known: dict[str, Numbers]) -> dict[str, list[Numbers]]:
    """The finished runs, by setting, with the least end-point error of a layer."""
    found: dict[str, list[Numbers]] = {name: [] for name in settings()}
    for run, numbers in known.items():
        found[run.rpartition("_seed")[0]].append(numbers | least_error(numbers, "final/"))
    return found


def main() -> None:
    """Run what is missing; write the tables."""
    parser = study_options(__doc__, settings())
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    store, out = RESULTS / f"{NAME}.json", options.out or ROOT / "outputs" / NAME
    if not options.table:
        run_trials(trials(options.names, options.seeds), store, out, options.at_a_time)
    found = rows(collect(store, out))
    text = (
        "# The loss on the attention from the start of training\n\n"
        f"`python benchmarks/{NAME}.py`: {STEPS} steps from the base, 64 test persons in another "
        "appearance, whose true\nimage is known\n\n"
        f"{table(HEADING, COLUMNS, found)}\n"
        f"## PSNR (dB) on the way, by images seen\n\n{table(HEADING, CURVE, found)}"
    )
    write_text(RESULTS / f"{NAME}.md", text)
    print(text)


if __name__ == "__main__":
    main()
