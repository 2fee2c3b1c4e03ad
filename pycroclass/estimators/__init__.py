"""Everything that learns an operator from data, in passes over it."""

from pycroclass.estimators.amounts import NonnegativeFit, PoissonFit
from pycroclass.estimators.centre_confidence import CentreConfidence
from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.estimators.defects import DefectMask
from pycroclass.estimators.drift import RigidDrift
from pycroclass.estimators.endmembers import NFINDR, VCA
from pycroclass.estimators.ica import ICA
from pycroclass.estimators.kmeans import KMeans, NearestCentre
from pycroclass.estimators.membership import GaussianMembership
from pycroclass.estimators.mini_batch import MiniBatchKMeans
from pycroclass.estimators.misfit import Misfit
from pycroclass.estimators.mixture import GaussianMixture
from pycroclass.estimators.nearest_item import NearestItem
from pycroclass.estimators.neighbour_maps import TSNE, UMAP, PlaceAmongNeighbours
from pycroclass.estimators.nmf import NMF, PoissonNMF
from pycroclass.estimators.patches import PatchPCA, PatchStrength
from pycroclass.estimators.pca import PCA
from pycroclass.estimators.peak_count import PeakCount
from pycroclass.estimators.poisson_pca import PoissonPCA, PoissonScale, WeighCounts
from pycroclass.estimators.projection import Project, Reconstruct
from pycroclass.estimators.run_calibration import RunCalibration
from pycroclass.estimators.sampled import HDBSCAN, Agglomerative
from pycroclass.estimators.scaling import PercentileScale, Scale, StandardizeData, StandardizeFeatures
from pycroclass.estimators.session import Progress, Session
from pycroclass.estimators.settings import Balance, Optimisation, Transfer
from pycroclass.estimators.spherical import NearestDirection, SphericalKMeans
from pycroclass.estimators.streaks import StreakMask
from pycroclass.estimators.svd import SVD
from pycroclass.estimators.window_pca import WindowFilter, WindowPCA

__all__ = [
    "SphericalKMeans",
    "NearestItem",
    "NearestDirection",
    "MiniBatchKMeans",
    "GaussianMixture",
    "GaussianMembership",
    "CentreConfidence",
    "Agglomerative",
    "HDBSCAN",
    "ICA",
    "NFINDR",
    "NMF",
    "PCA",
    "SVD",
    "TSNE",
    "UMAP",
    "VCA",
    "Balance",
    "DefectMask",
    "KMeans",
    "Misfit",
    "NearestCentre",
    "NetworkClassifier",
    "NonnegativeFit",
    "Optimisation",
    "Progress",
    "PatchPCA",
    "PatchStrength",
    "PeakCount",
    "PercentileScale",
    "PoissonFit",
    "PoissonNMF",
    "PoissonPCA",
    "PoissonScale",
    "PlaceAmongNeighbours",
    "Project",
    "Reconstruct",
    "RigidDrift",
    "RunCalibration",
    "Scale",
    "Session",
    "StandardizeData",
    "StandardizeFeatures",
    "StreakMask",
    "Transfer",
    "WindowFilter",
    "WindowPCA",
    "WeighCounts",
]
