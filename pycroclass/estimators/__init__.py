"""Everything that learns an operator from data, in passes over it."""

from pycroclass.estimators.centre_confidence import CentreConfidence
from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.estimators.defects import DefectMask
from pycroclass.estimators.drift import RigidDrift
from pycroclass.estimators.endmembers import NFINDR, VCA
from pycroclass.estimators.kmeans import KMeans, NearestCentre
from pycroclass.estimators.membership import GaussianMembership
from pycroclass.estimators.mini_batch import MiniBatchKMeans
from pycroclass.estimators.mixture import GaussianMixture
from pycroclass.estimators.nearest_item import NearestItem
from pycroclass.estimators.neighbour_maps import TSNE, UMAP, PlaceAmongNeighbours
from pycroclass.estimators.patches import PatchPCA, PatchStrength
from pycroclass.estimators.pca import PCA
from pycroclass.estimators.projection import Project, Reconstruct
from pycroclass.estimators.sampled import HDBSCAN, Agglomerative
from pycroclass.estimators.scaling import PercentileScale, Scale, StandardizeData, StandardizeFeatures
from pycroclass.estimators.session import Progress, Session
from pycroclass.estimators.settings import Balance, Optimisation, Transfer
from pycroclass.estimators.spherical import NearestDirection, SphericalKMeans
from pycroclass.estimators.window_pca import WindowFilter, WindowPCA

__all__ = [
    "Agglomerative",
    "CentreConfidence",
    "GaussianMembership",
    "GaussianMixture",
    "HDBSCAN",
    "MiniBatchKMeans",
    "NearestDirection",
    "NearestItem",
    "SphericalKMeans",
    "NFINDR",
    "PCA",
    "TSNE",
    "UMAP",
    "VCA",
    "Balance",
    "DefectMask",
    "KMeans",
    "NearestCentre",
    "NetworkClassifier",
    "Optimisation",
    "PatchPCA",
    "PatchStrength",
    "Progress",
    "PercentileScale",
    "PlaceAmongNeighbours",
    "Project",
    "Reconstruct",
    "RigidDrift",
    "Scale",
    "Session",
    "StandardizeData",
    "StandardizeFeatures",
    "Transfer",
    "WindowFilter",
    "WindowPCA",
]
