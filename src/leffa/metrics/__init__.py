"""Metrics of images and flows, the protocols that define them, and tables."""

from typing import TYPE_CHECKING

from leffa.lazy import lazy_attributes, lazy_names

if TYPE_CHECKING:
    from leffa.metrics.colour import ciede2000 as ciede2000
    from leffa.metrics.colour import to_lab as to_lab
    from leffa.metrics.distribution import FID as FID
    from leffa.metrics.distribution import KID as KID
    from leffa.metrics.features import InceptionFeatures as InceptionFeatures
    from leffa.metrics.fidelity import Leakage as Leakage
    from leffa.metrics.fidelity import RegionColourDifference as RegionColourDifference
    from leffa.metrics.fidelity import RegionSSIM as RegionSSIM
    from leffa.metrics.flow import ConstantFlow as ConstantFlow
    from leffa.metrics.flow import FlowMetrics as FlowMetrics
    from leffa.metrics.flow import MatchMetrics as MatchMetrics
    from leffa.metrics.flow import flow_baselines as flow_baselines
    from leffa.metrics.flow import identity_flow as identity_flow
    from leffa.metrics.folders import FolderMismatch as FolderMismatch
    from leffa.metrics.matches import MatchCount as MatchCount
    from leffa.metrics.matches import MatchFidelity as MatchFidelity
    from leffa.metrics.pages import write_report as write_report
    from leffa.metrics.paired import MSE as MSE
    from leffa.metrics.paired import PSNR as PSNR
    from leffa.metrics.paired import SSIM as SSIM
    from leffa.metrics.paired import MaskedPSNR as MaskedPSNR
    from leffa.metrics.paired import PerImageMetric as PerImageMetric
    from leffa.metrics.perceptual import LPIPS as LPIPS
    from leffa.metrics.protocols import Protocol as Protocol
    from leffa.metrics.protocols import get_protocol as get_protocol
    from leffa.metrics.result import Scores as Scores
    from leffa.metrics.score import score_folders as score_folders
    from leffa.metrics.text import TextSimilarity as TextSimilarity
    from leffa.metrics.weights import MissingWeights as MissingWeights

__all__ = lazy_names(__file__)
__getattr__ = lazy_attributes(__name__, __file__)
