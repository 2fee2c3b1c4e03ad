"""What is in a folder of images that nobody has labelled: clusters, a map to look around in, and which images to label first.

Run it with::

    python map_of_images.py path/to/images [number of clusters] [folder for the results]

Images of different sizes are made 128 pixels wide and high. The results are ``members.png``, which shows typical, doubtful and odd members
of each cluster, ``map.png``, ``map.html`` to point at and to draw around images in, and ``map.h5`` with clusters and places.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pycroclass as pc
from pycroclass.embedding import ImageMap, diverse_sample, draw_map, draw_members, write_map

SIZE = 128


def main(source: Path, n_clusters: int, folder: Path) -> ImageMap:
    files = sorted(path for path in source.rglob("*") if path.suffix.lower() in {".png", ".tif", ".tiff", ".jpg", ".jpeg"})
    images = pc.read(files, size=SIZE, fit="resize")["image"]
    found = pc.map_images(images, clustering=pc.KMeans(n_clusters, seed=0))
    print("images in each cluster:", found.sizes)
    print("copies:", *pc.near_duplicates(images)[:10], sep="\n  ")
    print("label these first:", *(files[i].name for i in diverse_sample(found.scores, 12)), sep="\n  ")

    draw_members(found, images).savefig(folder / "members.png", dpi=150)
    draw_map(found, images).savefig(folder / "map.png", dpi=150)
    write_map(found, images, folder / "map.html", overwrite=True)
    pc.write({"label": found.label, "places": found.places}, folder / "map.h5", overwrite=True)
    return found


if __name__ == "__main__":
    source, n_clusters, folder = (*sys.argv[1:], *("8", ".")[len(sys.argv) - 2 :]) if len(sys.argv) > 1 else sys.exit(__doc__)
    main(Path(source), int(n_clusters), Path(folder))
