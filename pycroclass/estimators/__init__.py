"""Everything that learns an operator from data, in passes over it."""

from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.estimators.defects import DefectMask
from pycroclass.estimators.endmembers import NFINDR, VCA
from pycroclass.estimators.kmeans import KMeans, NearestCentre
from pycroclass.estimators.pca import PCA
from pycroclass.estimators.projection import Project, Reconstruct
from pycroclass.estimators.scaling import PercentileScale, Scale, StandardizeData, StandardizeFeatures
from pycroclass.estimators.session import Progress, Session
from pycroclass.estimators.settings import Balance, Optimisation, Transfer

__all__ = [
    "NFINDR",
    "PCA",
    "VCA",
    "Balance",
    "DefectMask",
    "KMeans",
    "NearestCentre",
    "NetworkClassifier",
    "Optimisation",
    "Progress",
    "PercentileScale",
    "Project",
    "Reconstruct",
    "Scale",
    "Session",
    "StandardizeData",
    "StandardizeFeatures",
    "Transfer",
]
