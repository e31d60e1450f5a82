"""Does the Leffa loss teach the joint attention of diffusion transformers, and in which blocks?

    python benchmarks/dit_study.py                      FitDiT and catvton-flux, tiny, one seed each
    python benchmarks/dit_study.py NAME ... --seeds 3   these settings
    python benchmarks/dit_study.py --table              only the table, of finished runs

Each model is trained from random weights on the synthetic data set, first without the loss, then
with it on some blocks: all, the third or the single one whose attention is then nearest to the
ground-truth flow. The same steps without it are the control. Numbers are kept in
benchmarks/results/dit_study.json; a setting that stands there is not repeated.
"""

from collections.abc import Iterator

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

NAME = "dit_study"
STAGES = {"denoising": 1500, "leffa": 500}  # steps of each
BLOCKS = {"fitdit": 6, "catvton_flux": 6}  # of the tiny ones
COLUMNS = {
    "paired/flow/epe_px": ("EPE, all blocks (px) ↓", 1),
    "best_layer": ("best block ↓", 1),
    "paired/paired/psnr": ("PSNR (dB) ↑", 2),
    "paired/paired/ssim": ("SSIM ↑", 3),
    "paired/fidelity/interior_ssim": ("interior SSIM ↑", 3),
    "paired/fidelity/interior_ciede2000": ("colour ΔE ↓", 2),
}


def settings() -> dict[str, tuple[str, list[str]]]:
    """Model, and what training is told, by the setting's name."""
    found = {}
    for model, blocks in BLOCKS.items():
        chosen = {
            "none": ["leffa_loss=off"],
            "all": ["leffa_loss.layers=all"],
            "third": ["leffa_loss.layers=auto", f"leffa_loss.auto_layers={blocks // 3}"],
            "best": ["leffa_loss.layers=auto", "leffa_loss.auto_layers=1"],
        }
        if model == "catvton_flux":
            before = "model.tap=before_rope"
            chosen |= {f"{name}_before_rope": [*chosen[name], before] for name in ("all", "third")}
        found |= {f"{model}_{name}": (model, told) for name, told in chosen.items()}
    return found


def trials(names: list[str], seeds: int) -> Iterator[Trial]:
    """By seed first, so that an interrupted study has whole columns."""
    stages = [
        f"{{name:{name},steps:{steps},height:96,width:72,batch_size:8,learning_rate:1.0e-3,"
        f"leffa_loss:{str(name == 'leffa').lower()}}}"
        for name, steps in STAGES.items()
    ]
    for seed in range(seeds):
        for name in names:
            model, told = settings()[name]
            training = [
                f"experiment={model}_synthetic",
                f"curriculum.stages=[{','.join(stages)}]",
                f"curriculum.cooldown_steps={STAGES['leffa']}",
                f"seed={seed}",
                *told,
            ]
            sampler = "flow_matching_unguided" if model == "catvton_flux" else "flow_matching"
            evaluation = [
                "dataset=synthetic_tryon",
                "protocol=leffa@2",
                "metrics=[ssim,psnr,interior_ssim,interior_ciede2000]",
                f"sampler={sampler}",
                "inspect_layers=all",
            ]
            begins_as = "" if name == f"{model}_none" else f"{model}_none_seed{seed}"
            yield Trial(
                f"{name}_seed{seed}",
                sum(STAGES.values()),
                training,
                {"paired": evaluation},
                begins_as,
                STAGES["denoising"],
            )


def rows(known: dict[str, Numbers]) -> dict[str, list[Numbers]]:
    """The finished runs, by setting."""
    return {
        name: [
            numbers | least_error(numbers, "paired/")
            for run, numbers in known.items()
            if run.rpartition("_seed")[0] == name
        ]
        for name in settings()
    }


def main() -> None:
    """Run what is missing; write the table."""
    parser = study_options(__doc__, settings())
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    store, out = RESULTS / f"{NAME}.json", options.out or ROOT / "outputs" / NAME
    if not options.table:
        run_trials(trials(options.names, options.seeds), store, out, options.at_a_time)
    shown = table("model, blocks", COLUMNS, rows(collect(store, out)))
    text = (
        "# The Leffa loss on the joint attention of tiny diffusion transformers\n\n"
        f"`python benchmarks/dit_study.py`\n\n{shown}"
    )
    write_text(RESULTS / f"{NAME}.md", text)
    print(text)


if __name__ == "__main__":
    main()
