"""What came out, in sentences that follow from the numbers."""

from collections.abc import Mapping

Rows = Mapping[str, Mapping[str, float]]

# Differences smaller than these are called equal: it is one seed and a few dozen pictures.
EQUAL_EPE = 0.05  # share of the control's error
EQUAL_PSNR = 0.2  # dB
EQUAL_SSIM = 0.005


def findings(rows: Rows) -> list[str]:
    """Three sentences: where the attention looks, whether that beats no network, the pictures.

    Args:
        rows: of `leffa.demo.results.Results`.
    """
    return [_attention(rows), _against_no_network(rows), _pictures(rows)]


def _attention(rows: Rows) -> str:
    before, control, leffa = (
        rows[name]["flow/epe_px"] for name in ("untrained", "control", "leffa")
    )
    change = leffa / control - 1
    if abs(change) < EQUAL_EPE:
        verdict = "the Leffa loss made no clear difference to where the attention looks"
    else:
        direction = "nearer to" if change < 0 else "farther from"
        verdict = (
            f"with the Leffa loss the attention looks {abs(change):.0%} {direction} the true place"
        )
    return (
        f"Flow: {verdict} (mean error {leffa:.1f} px with it, {control:.1f} px without, "
        f"{before:.1f} px before training)."
    )


def _against_no_network(rows: Rows) -> str:
    trivial = {
        "looking straight ahead": rows["identity"]["flow/epe_px"],
        "looking at one point from everywhere": rows["constant"]["flow/epe_px"],
    }
    name, best = min(trivial.items(), key=lambda item: item[1])
    winners = [
        title
        for model, title in (("leffa", "with"), ("control", "without"))
        if rows[model]["flow/epe_px"] < (1 - EQUAL_EPE) * best
    ]
    who = {
        ("with", "without"): "both models clearly beat it",
        ("with",): "only the model with the loss clearly beats it",
        ("without",): "only the model without the loss clearly beats it",
        (): "neither model clearly beats it yet: try more steps",
    }[tuple(winners)]
    return f"Check: {name}, which needs no network, has {best:.1f} px; {who}."


def _pictures(rows: Rows) -> str:
    leffa, control = rows["leffa"], rows["control"]
    psnr = leffa["paired/psnr"] - control["paired/psnr"]
    ssim = leffa["paired/ssim"] - control["paired/ssim"]
    signs = {_sign(psnr, EQUAL_PSNR), _sign(ssim, EQUAL_SSIM)} - {0}
    verdict = {
        (): "no clear difference",
        (1,): "better with the Leffa loss",
        (-1,): "worse with the Leffa loss",
    }.get(tuple(signs), "PSNR and SSIM disagree")
    return (
        f"Pictures: {verdict} (PSNR {leffa['paired/psnr']:.2f} dB with it, "
        f"{control['paired/psnr']:.2f} dB without; SSIM {leffa['paired/ssim']:.3f} and "
        f"{control['paired/ssim']:.3f})."
    )


def _sign(difference: float, equal: float) -> int:
    return 0 if abs(difference) < equal else (1 if difference > 0 else -1)
