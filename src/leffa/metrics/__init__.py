"""Metrics of pictures and flows, protocols that fix how they are computed, and their tables."""

from typing import TYPE_CHECKING

from leffa.lazy import lazy_attributes

if TYPE_CHECKING:
    from leffa.metrics.colour import ciede2000, to_lab
    from leffa.metrics.distribution import FID, KID
    from leffa.metrics.features import InceptionFeatures
    from leffa.metrics.fidelity import Leakage, RegionColourDifference, RegionSSIM
    from leffa.metrics.flow import (
        ConstantFlow,
        FlowMetrics,
        MatchMetrics,
        flow_baselines,
        identity_flow,
    )
    from leffa.metrics.folders import FolderMismatch
    from leffa.metrics.matches import MatchCount, MatchFidelity
    from leffa.metrics.pages import write_report
    from leffa.metrics.paired import MSE, PSNR, SSIM, MaskedPSNR, PerImageMetric
    from leffa.metrics.perceptual import LPIPS
    from leffa.metrics.protocols import Protocol, get_protocol
    from leffa.metrics.result import Scores
    from leffa.metrics.score import score_folders
    from leffa.metrics.text import TextSimilarity
    from leffa.metrics.weights import MissingWeights

__all__ = [
    "FID",
    "KID",
    "LPIPS",
    "MSE",
    "PSNR",
    "SSIM",
    "ConstantFlow",
    "FlowMetrics",
    "FolderMismatch",
    "InceptionFeatures",
    "Leakage",
    "MaskedPSNR",
    "MatchCount",
    "MatchFidelity",
    "MatchMetrics",
    "MissingWeights",
    "PerImageMetric",
    "Protocol",
    "RegionColourDifference",
    "RegionSSIM",
    "Scores",
    "TextSimilarity",
    "ciede2000",
    "flow_baselines",
    "get_protocol",
    "identity_flow",
    "score_folders",
    "to_lab",
    "write_report",
]
__getattr__ = lazy_attributes(__name__, __file__)
