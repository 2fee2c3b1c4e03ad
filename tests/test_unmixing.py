from __future__ import annotations

import dask.array as da
import numpy as np
import pytest

import pycroclass as pc
from pycroclass.errors import ParameterError
from pycroclass.provenance import Provenance
from pycroclass.replay import Verdict
from pycroclass.sid import wrap
from pycroclass.spec import Axis, Spec

ENERGY = Axis("energy", 30, "spectral", units="eV", offset=100, step=0.5)
RNG = np.random.default_rng(0)
PURE = RNG.random((3, 30)) + 0.1
SHARES = RNG.dirichlet(np.ones(3), (8, 9))
SHARES[0, :3] = np.eye(3)


def dataset():
    axes = (Axis("y", 8, "spatial", units="nm"), Axis("x", 9, "spatial", units="nm"), ENERGY)
    array = SHARES @ PURE
    return wrap(da.from_array(array, (3, 4, 30)), Spec(axes, array.dtype, units="counts"), provenance=Provenance("given", {}))


@pytest.mark.parametrize("pipeline", [pc.NFINDR(3), pc.Cast("float64") | pc.VCA(3), pc.FCLS(PURE, (ENERGY,))])
def test_spectra_maps_and_what_is_left(pipeline: pc.Operator) -> None:
    results = pc.unmix(pipeline, dataset())
    assert list(results) == ["endmembers", "abundance", "residual"]
    spectra, abundance, residual = results.values()
    assert (spectra.data_type.name, abundance.data_type.name, residual.data_type.name) == ("SPECTRUM", "IMAGE_STACK", "IMAGE")
    np.testing.assert_allclose(np.asarray(spectra.compute()), PURE.T, rtol=1e-6)
    np.testing.assert_allclose(spectra.energy.values, ENERGY.values)
    np.testing.assert_allclose(np.asarray(abundance.compute()), SHARES.transpose(2, 0, 1), atol=1e-10)
    np.testing.assert_allclose(np.asarray(residual.compute()), 0, atol=1e-10)
    assert residual.units == "counts"


def test_results_are_written_and_replayed(tmp_path) -> None:
    pc.write({"scan": dataset()}, tmp_path / "scan.h5")
    (scan,) = pc.read(tmp_path / "scan.h5").values()
    pc.write(pc.unmix(pc.NFINDR(3), scan), tmp_path / "unmixed.h5")
    replayed = {result.dataset.split("/")[-1]: result.verdict for result in pc.replay(tmp_path / "unmixed.h5")}
    assert replayed == dict.fromkeys(("endmembers", "abundance", "residual"), Verdict.IDENTICAL)


@pytest.mark.parametrize("pipeline", [pc.PCA(2), pc.Log1p()])
def test_what_gives_no_abundances_is_refused(pipeline: pc.Operator) -> None:
    with pytest.raises(ParameterError, match="NFINDR"):
        pc.unmix(pipeline, dataset())
