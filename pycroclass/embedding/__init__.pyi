from .embed import backbone, embed
from .figures import draw_map, draw_members
from .image_map import ImageMap, map_images
from .naming import name_clusters
from .neighbours import diverse_sample, isolation, neighbour_distance, similar
from .page import write_map
from .quality import ClusterAgreement, cluster_agreement, neighbour_accuracy, trustworthiness
from .read_map import read_map

__all__ = [
    "ClusterAgreement",
    "ImageMap",
    "backbone",
    "cluster_agreement",
    "diverse_sample",
    "draw_map",
    "draw_members",
    "embed",
    "isolation",
    "map_images",
    "name_clusters",
    "neighbour_accuracy",
    "neighbour_distance",
    "read_map",
    "similar",
    "trustworthiness",
    "write_map",
]
