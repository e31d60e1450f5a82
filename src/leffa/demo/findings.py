"""The demo's findings, in sentences that follow from its numbers."""

from collections.abc import Mapping

Rows = Mapping[str, Mapping[str, float]]

# Differences smaller than these are called equal: it is one seed and a few dozen pictures.
EQUAL_EPE = 0.05  # share of the control's error
EQUAL_PSNR = 0.2  # dB
EQUAL_SSIM = 0.005


def findings(rows: Rows) -> list[str]:
    """Three sentences: where the attention looks, whether that beats no network, and image quality.

    Args:
        rows: of `leffa.demo.results.Results`.
    """
    return [_attention(rows), _against_no_network(rows), _pictures(rows)]


def _attention(rows: Rows) -> str:
    models = ("baseline", "control", "leffa")
    before, control, leffa = (rows[name]["flow/epe_px"] for name in models)
    change = leffa / control - 1
    if abs(change) < EQUAL_EPE:
        verdict = "the Leffa loss made no clear difference to where the attention looks"
    else:
        where = "closer to" if change < 0 else "farther from"
        verdict = (
            f"with the Leffa loss the attention looks {abs(change):.0%} {where} the true position"
        )
    return (
        f"Flow: {verdict} (mean error {leffa:.1f} px with it, {control:.1f} px without, "
        f"{before:.1f} px before training)."
    )


def _against_no_network(rows: Rows) -> str:
    best, name = min(
        (rows["identity"]["flow/epe_px"], "looking straight ahead"),
        (rows["constant"]["flow/epe_px"], "looking at one point everywhere"),
    )
    with_loss, without = (
        rows[model]["flow/epe_px"] < (1 - EQUAL_EPE) * best for model in ("leffa", "control")
    )
    if with_loss and without:
        who = "both models clearly beat it"
    elif with_loss or without:
        who = f"only the model {'with' if with_loss else 'without'} the loss clearly beats it"
    else:
        who = "neither model clearly beats it"
    return f"Baseline without a network: {name} has {best:.1f} px; {who}."


def _pictures(rows: Rows) -> str:
    leffa, control = rows["leffa"], rows["control"]
    signs = {
        difference > 0
        for key, equal in (("paired/psnr", EQUAL_PSNR), ("paired/ssim", EQUAL_SSIM))
        if abs(difference := leffa[key] - control[key]) >= equal
    }
    if not signs:
        verdict = "no clear difference"
    elif len(signs) == 2:
        verdict = "PSNR and SSIM disagree"
    else:
        verdict = f"{'better' if signs.pop() else 'worse'} with the Leffa loss"
    return (
        f"Image quality: {verdict} (PSNR {leffa['paired/psnr']:.2f} dB with it, "
        f"{control['paired/psnr']:.2f} dB without; SSIM {leffa['paired/ssim']:.3f} and "
        f"{control['paired/ssim']:.3f})."
    )
