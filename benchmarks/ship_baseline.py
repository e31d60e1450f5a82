"""Put a trained baseline into the package: 16-bit weights, how they are fed, and a model card.

    python train.py experiment=tryon_baseline
    python evaluate.py dataset=synthetic_tryon ckpt=RUN paths.output_dir=EVALUATION
    python benchmarks/ship_baseline.py RUN --evaluation EVALUATION

The folder has the layout that `leffa convert` gives to models without a diffusers pipeline: the
frozen autoencoder and what is zero are left out, since the package has the one and needs no other.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path

from safetensors.torch import save_file

from leffa.inference import LoadedModel, load_model
from leffa.io.atomic import write_json, write_text
from leffa.models.card import model_card
from leffa.models.export import BASELINES, FORMAT, SETTINGS, WEIGHTS


def ship(loaded: LoadedModel, out: Path, evaluations: list[Path]) -> None:
    """Write the folder `out` of the weights of a run, with its scores in the card."""
    settings = replace(loaded.settings, source=out.name)
    state = {key: each.half().contiguous() for key, each in loaded.model.saved_state().items()}
    results = [json.loads((folder / "metrics.json").read_text("utf-8")) for folder in evaluations]
    out.mkdir(exist_ok=True)
    save_file(state, out / WEIGHTS)
    write_json(out / SETTINGS, {"format": FORMAT, **asdict(settings)})
    write_text(out / "README.md", model_card(settings, results, kind="Leffa"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--evaluation", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, help="default: the place in the package")
    options = parser.parse_args()
    loaded = load_model(options.run)
    name = loaded.name
    if options.out is None and name not in BASELINES:
        parser.error(f"{options.run}: is a run of {name}, not of {' or '.join(BASELINES)}")
    ship(loaded, options.out or BASELINES[name], options.evaluation)


if __name__ == "__main__":
    main()
