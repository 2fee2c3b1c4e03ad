"""Everything that learns an operator from data, in passes over it."""

from pycroclass.estimators.classifier import NetworkClassifier
from pycroclass.estimators.defects import DefectMask
from pycroclass.estimators.kmeans import KMeans, NearestCentre
from pycroclass.estimators.pca import PCA
from pycroclass.estimators.projection import Project, Reconstruct
from pycroclass.estimators.scaling import PercentileScale, Scale, StandardizeData, StandardizeFeatures

__all__ = [
    "PCA",
    "DefectMask",
    "KMeans",
    "NearestCentre",
    "NetworkClassifier",
    "PercentileScale",
    "Project",
    "Reconstruct",
    "Scale",
    "StandardizeData",
    "StandardizeFeatures",
]
