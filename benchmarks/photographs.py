"""What the loss on the attention does on real photographs, through a real autoencoder.

    python benchmarks/photographs.py --viton DIR --taef2 DIR            all settings, one seed
    python benchmarks/photographs.py NAME ... --seeds 3 --viton ...     these settings
    python benchmarks/photographs.py --table                            only the table

The first folder is the data set with the matches that `leffa prepare matches` has found, the second
the autoencoder (conf/backbone/taef2.yaml). All settings start from one baseline, which has random
weights at first, and train for the same steps. Flows and pictures are scored on 256 test persons,
without those who also occur in the training images; FID and KID are of all test persons, unpaired.
No photograph is written outside the runs' folders. Numbers are kept in
benchmarks/results/photographs.json; a setting that stands there is not repeated.
"""

from collections.abc import Iterator
from pathlib import Path

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

NAME = "photographs"
HEIGHT, WIDTH = 128, 96
BASELINE, BASELINE_STEPS, STEPS = "baseline", 2500, 500
LOSSES = {
    "none": ["leffa_loss=off"],
    "leffa_best": [  # on the layer that is nearest to the matches in the baseline
        "leffa_loss.layers=auto",
        "leffa_loss.temperature=1.0",
        "leffa_loss.weight=1.0",
    ],
}
SCORES = {  # what evaluate.py is told, by the word that its numbers begin with
    "paired": [
        "dataset=viton_paired",
        "dataset.clean=true",
        "limit=256",
        "metrics=[ssim,psnr,interior_ssim,interior_ciede2000]",
        "inspect_layers=all",
        "inspect_temperature=1",  # as the network itself attends
    ],
    "unpaired": ["dataset=viton_unpaired", "metrics=[fid,kid]"],
}
COLUMNS = {
    "paired/flow/match_epe_px": ("EPE at matches, all layers (px) ↓", 1),
    "best_layer": ("best layer ↓", 1),
    "paired/paired/ssim": ("SSIM ↑", 3),
    "paired/paired/psnr": ("PSNR (dB) ↑", 2),
    "paired/fidelity/interior_ssim": ("interior SSIM ↑", 3),
    "paired/fidelity/interior_ciede2000": ("colour ΔE ↓", 2),
    "unpaired/set/fid": ("FID, unpaired ↓", 1),
    "unpaired/set/kid": ("KID, unpaired ↓", 4),
}
HEADING = "loss"


def training(viton: Path, taef2: Path, seed: int) -> list[str]:
    """What all trainings are told."""
    return [
        "experiment=viton_256",
        f"data.root={viton}",
        "backbone=taef2",
        f"backbone.vae={taef2}",
        "latent_cache=${data.root}_latents",
        "callbacks.checkpoint.every_n_train_steps=250",
        f"seed={seed}",
    ]


def stage(name: str, steps: int, batch: int, learning_rate: float) -> list[str]:
    """The only stage of a training; its learning rate decays in the second half."""
    told = f"name:{name},steps:{steps},height:{HEIGHT},width:{WIDTH},batch_size:{batch}"
    told += f",learning_rate:{learning_rate},leffa_loss:{str(name == 'leffa').lower()}"
    return [f"curriculum.stages=[{{{told}}}]", f"curriculum.cooldown_steps={steps // 2}"]


def evaluations(viton: Path, seed: int = 0) -> dict[str, list[str]]:
    """What `evaluate.py` is told, by word; distances between sets are for the first seed alone."""
    size = [f"dataset.transform.height={HEIGHT}", f"dataset.transform.width={WIDTH}"]
    usual = [f"dataset.root={viton}", *size, "protocol=leffa@2", "sampler=small_networks"]
    words = SCORES if seed == 0 else ["paired"]
    return {word: [*SCORES[word], *usual] for word in words}


def baseline(viton: Path, taef2: Path) -> Trial:
    """The training from which all settings start."""
    told = [
        *training(viton, taef2, seed=0),
        *stage("baseline", BASELINE_STEPS, 16, 1.0e-3),
        "leffa_loss=off",
        "data.val_samples=0",
    ]
    paired = {"paired": evaluations(viton)["paired"]}
    return Trial(BASELINE, BASELINE_STEPS, told, paired)


def trials(names: list[str], seeds: int, viton: Path, taef2: Path, start: Path) -> Iterator[Trial]:
    """By seed first, so that an interrupted study has whole columns."""
    for seed in range(seeds):
        for name in names:
            told = [
                *training(viton, taef2, seed),
                *stage("leffa", STEPS, 8, 2.0e-4),
                f"start_from={start}",
                "data.val_samples=64",
                *LOSSES[name],
            ]
            yield Trial(f"{name}_seed{seed}", STEPS, told, evaluations(viton, seed))


def rows(known: dict[str, Numbers]) -> dict[str, list[Numbers]]:
    """The finished runs, by setting, with the least end-point error of a layer."""
    found: dict[str, list[Numbers]] = {name: [] for name in (BASELINE, *LOSSES)}
    for run, numbers in known.items():
        found[run.partition("_seed")[0]].append(numbers | least_error(numbers, "paired/"))
    return found


def main() -> None:
    """Run what is missing; write the table."""
    parser = study_options(__doc__, LOSSES)
    parser.add_argument("--viton", type=Path, help="folder of the data set")
    parser.add_argument("--taef2", type=Path, help="folder of the autoencoder")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    store, out = RESULTS / f"{NAME}.json", options.out or ROOT / "outputs" / NAME
    if not options.table:
        if options.viton is None or options.taef2 is None:
            parser.error("--viton and --taef2 are needed to train")
        folders = options.viton.resolve(), options.taef2.resolve()
        run_trials([baseline(*folders)], store, out, 1)
        planned = trials(options.names, options.seeds, *folders, (out / BASELINE).resolve())
        run_trials(planned, store, out, options.at_a_time)
    found = rows(collect(store, out))
    text = (
        "# The loss on the attention, on photographs\n\n"
        f"`python benchmarks/{NAME}.py`: VITON at {WIDTH}x{HEIGHT}; a baseline of "
        f"{BASELINE_STEPS} steps of 16, then {STEPS} steps of 8\n\n"
        f"{table(HEADING, COLUMNS, found)}"
    )
    write_text(RESULTS / f"{NAME}.md", text)
    print(text)


if __name__ == "__main__":
    main()
