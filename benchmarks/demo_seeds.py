"""The demo's numbers over several seeds, as ranges.

    python benchmarks/demo_seeds.py          into outputs/demo_seeds, five minutes each
    ... --out benchmarks/results             keeps them: demo.json and demo.md

Seed 0 is that of `make demo`. What an earlier run of this program has finished is kept.
"""

import argparse
import json
from pathlib import Path

from leffa.demo.report import METRICS, ROWS
from leffa.demo.run import run_demo
from leffa.demo.settings import DemoSettings
from leffa.io.atomic import write_json, write_text


def table(found: list[dict[str, dict[str, float]]]) -> str:
    """One row a model: from the least to the greatest value over the seeds."""
    shown = {key: METRICS[key] for key in METRICS if key in found[0]["leffa"]}
    lines = [
        "| | " + " | ".join(title for title, _, _ in shown.values()) + " |",
        "|---|" + "---:|" * len(shown),
    ]
    for name, title in ROWS.items():
        cells = []
        for key, (_, digits, _) in shown.items():
            values = sorted(rows[name][key] for rows in found if key in rows[name])
            ends = dict.fromkeys(f"{end:.{digits}f}" for end in values[:1] + values[-1:])
            cells.append(" to ".join(ends) or "-")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=DemoSettings.steps)
    parser.add_argument("--work", type=Path, default=Path("outputs/demo_seeds"))
    parser.add_argument("--out", type=Path, help="folder of the result; not given: printed alone")
    options = parser.parse_args()
    found = []
    for seed in options.seeds:
        out = options.work / str(seed)
        run_demo(DemoSettings(out=out, seed=seed, steps=options.steps))
        found.append(json.loads((out / "metrics.json").read_text("utf-8")))
    shown = table(found)
    print(shown)
    if options.out is not None:
        write_json(
            options.out / "demo.json", dict(zip(map(str, options.seeds), found, strict=True))
        )
        seeds = ", ".join(map(str, options.seeds))
        write_text(
            options.out / "demo.md", f"# The demo, seeds {seeds}: least to greatest\n\n{shown}"
        )


if __name__ == "__main__":
    main()
