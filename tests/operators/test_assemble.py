"""Assembling: against pixels placed one by one; there and back; what operators make of panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import pycroclass as pc
from pycroclass.errors import AxisError, ParameterError
from pycroclass.geometry import Geometry, Panel, PanelGeometry
from pycroclass.geometry.assembly import Plane, image_pixels, slab_pixels
from pycroclass.operator import Operator
from pycroclass.provenance import Provenance
from pycroclass.sid import unwrap, wrap
from pycroclass.spec import Axis, Spec

MakeSpec = Callable[..., Spec]
SLAB = (12, 40)


def panel(name: str, left: int, angle: float, corner: tuple[float, float], **also: object) -> Panel:
    cos, sin = np.cos(angle), np.sin(angle)
    place = {"fs": (cos, sin, 0.0), "ss": (-sin, cos, 0.0), "res": 1e4, "clen": 0.1, **also}
    return Panel(name, min_fs=left, max_fs=left + 9, min_ss=1, max_ss=11, corner_x=corner[0], corner_y=corner[1], **place)


def four(turn: float = 0.01, tilt: float = 0.0) -> PanelGeometry:
    """Around the beam, each turned a little more than a quarter further."""
    corners = [(-13.3, 2.0), (-2.1, -13.4), (13.2, -2.2), (2.4, 13.1)]
    return PanelGeometry(
        tuple(
            panel(f"p{i}", 10 * i, i * np.pi / 2 + turn * i, corner, coffset=1e-3 * i * tilt)
            for i, corner in zip((3, 0, 1, 2), np.roll(corners, 1, axis=0).tolist())
        ),
        wavelength=1e-10,
    )


def assembled(geometry: PanelGeometry, image: np.ndarray, fill: float | None = None) -> np.ndarray:
    result = pc.Assemble(fill, geometry=geometry).transform(torch.from_numpy(image)[None, None])
    assert isinstance(result, torch.Tensor)
    return result[0, 0].numpy()


def slab_image(geometry: PanelGeometry, shape: tuple[int, int] = SLAB) -> np.ndarray:
    image = np.arange(1.0, 1 + np.prod(shape)).reshape(shape)
    return np.where(geometry.panel_numbers(shape) < 0, np.nan, image)


@pytest.mark.parametrize("tilt", [0, 1])
@pytest.mark.parametrize("turn", [0, 0.01, 0.3])
def test_each_pixel_stands_where_its_coordinates_say(turn: float, tilt: float) -> None:
    """The value of an assembled pixel comes from a pixel whose rays end within its diagonal; its radius is that of the flat geometry."""
    geometry = four(turn, tilt)
    image, plane = slab_image(geometry), Plane.of(geometry)
    x, y, z = geometry.coordinates(SLAB)
    distance = geometry.distance
    assert distance is not None
    result = assembled(geometry, image)
    rows, columns = np.nonzero(~np.isnan(result))
    sources = result[rows, columns].astype(int) - 1
    scale = distance * 1e4 / z.ravel()[sources]
    dx = x.ravel()[sources] * scale - (plane.first[1] + columns)
    dy = y.ravel()[sources] * scale - (plane.first[0] + rows)
    assert np.hypot(dx, dy).max() < np.sqrt(0.5) + 1e-5 + 0.03 * tilt
    flat = plane.geometry(geometry)
    gap = np.abs(flat.radius(plane.shape)[rows, columns] - geometry.radius(SLAB).ravel()[sources])
    assert gap.max() < np.sqrt(0.5) + 1e-5 + 0.03 * tilt
    assert np.mean(np.isin(np.flatnonzero(~np.isnan(image)), sources)) > (0.999 if turn == 0 and tilt == 0 else 0.75)


def test_every_covered_place_is_filled() -> None:
    """A place of the image is empty only if no panel covers it: each panel as four half-planes, point by point."""
    geometry = four(0.2)
    plane = Plane.of(geometry)
    covered = np.zeros(plane.shape, bool)
    for row, column in np.ndindex(plane.shape):
        at = np.array([plane.first[1] + column, plane.first[0] + row])
        for p in geometry.panels:
            fs, ss = np.linalg.solve(np.array([p.fs[:2], p.ss[:2]]).T, at - [p.corner_x, p.corner_y])
            covered[row, column] |= 0 <= fs < p.shape[1] and 0 <= ss < p.shape[0]
    np.testing.assert_array_equal(slab_pixels(geometry, SLAB) >= 0, covered)
    ends = np.argwhere(covered)
    assert (ends.min(0) <= 1).all()
    assert (ends.max(0) >= np.array(plane.shape) - 2).all()


def test_panels_on_a_lattice_lose_nothing() -> None:
    """Quarter turns at whole and half pixels: each pixel of the slab is one of the image."""
    corners = {"a": (0.0, 0.0), "b": (0.5, -12.5), "c": (25.5, -30.0), "d": (-20.0, 17.5)}
    geometry = PanelGeometry(tuple(panel(name, 10 * i, i * np.pi / 2, corner) for i, (name, corner) in enumerate(corners.items())))
    image = slab_image(geometry)
    result = assembled(geometry, image)
    assert sorted(result[~np.isnan(result)]) == sorted(image[~np.isnan(image)])
    back = pc.Disassemble(geometry, SLAB).transform(torch.from_numpy(result)[None, None])
    np.testing.assert_array_equal(back[0, 0].numpy(), image)


@settings(max_examples=25)
@given(st.floats(-0.5, 0.5), st.floats(-1, 1), st.integers(0, 2**32 - 1))
def test_there_and_back_and_there_is_there(turn: float, tilt: float, seed: int) -> None:
    geometry = four(turn, tilt)
    image = np.random.default_rng(seed).normal(size=SLAB)
    once = assembled(geometry, image)
    back = pc.Disassemble(geometry, SLAB).transform(torch.from_numpy(once)[None, None])
    np.testing.assert_array_equal(assembled(geometry, back[0, 0].numpy()), once)
    same = back[0, 0].numpy() == image
    used = np.isin(np.arange(image.size), slab_pixels(geometry, SLAB)).reshape(SLAB)
    assert same[used].all()
    assert np.isnan(back[0, 0].numpy()[geometry.panel_numbers(SLAB) < 0]).all()


def test_pixels_left_out_get_the_nearest_value() -> None:
    geometry = four(0.3)
    table = image_pixels(geometry, SLAB)
    plane = Plane.of(geometry)
    on_panel = geometry.panel_numbers(SLAB) >= 0
    assert np.mean(table[on_panel] >= 0) > 0.95
    used = on_panel & (table >= 0)
    row, column = np.divmod(table[used], plane.shape[1])
    x, y, _ = geometry.coordinates(SLAB)
    assert np.hypot(x[used] * 1e4 - plane.first[1] - column, y[used] * 1e4 - plane.first[0] - row).max() < np.sqrt(0.5) + 1e-5


def test_a_flat_detector_stays_as_it_is(image_spec: MakeSpec) -> None:
    spec = image_spec(11, 20)
    flat = Geometry((3.25, 4.5), pixel_size=(1e-4, 1e-4), distance=0.1, wavelength=1e-10)
    one = replace(spec, geometry=PanelGeometry.of_flat(flat, (11, 20)))
    image = torch.arange(220.0).reshape(1, 1, 11, 20)
    operator = pc.Assemble().bind(one)
    out = operator.output(one)
    assert torch.equal(operator.transform(image), image)
    assert out.geometry.beam_centre == pytest.approx(flat.beam_centre)
    assert replace(out.geometry, beam_centre=flat.beam_centre, pixel_size=flat.pixel_size) == flat
    for axis, centre in zip(out.axes[-2:], flat.beam_centre, strict=True):
        assert (axis.units, axis.kind) == ("m", "spatial")
        assert axis.offset + axis.step * centre == pytest.approx(0, abs=1e-18)
        assert axis.step == pytest.approx(1e-4)


@pytest.mark.parametrize("dtype", ["bool", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", "c8"])
def test_dtypes(image_spec: MakeSpec, dtype: str) -> None:
    geometry = four()
    spec = replace(image_spec(*SLAB, dtype=dtype), geometry=geometry)
    values = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, (2, 1, *SLAB)).astype(dtype)
    wanted_nan = assembled(geometry, values[0, 0].astype(complex if dtype == "c8" else float))
    for fill in (None, 1):
        operator = pc.Assemble(fill).bind(spec)
        result = operator.transform(torch.from_numpy(values)).numpy()
        assert result.dtype == operator.output(spec).dtype
        assert fill is None or result.dtype == dtype
        wanted = wanted_nan if fill is None else np.where(np.isnan(wanted_nan), fill, wanted_nan)
        np.testing.assert_array_equal(result[0, 0], wanted)


def dataset(geometry: PanelGeometry, *sizes: int, seed: int = 0):
    names = ("frame", "module", "y", "x")
    names = names if len(sizes) == 4 else ("frame", "y", "x")
    kinds = {"frame": "temporal", "module": "unknown"}
    axes = tuple(Axis(name, n, kinds.get(name, "spatial")) for name, n in zip(names, sizes, strict=True))
    values = np.random.default_rng(seed).poisson(9, sizes).astype("u2")
    spec = Spec(axes, values.dtype, "intensity", "counts", "frames", geometry)
    return wrap(da.from_array(values, chunks=(2, *sizes[1:])), spec, provenance=Provenance("given", {})), values


def test_a_profile_of_the_slab_is_that_of_its_pixels() -> None:
    """Rings go through all panels; gaps never count."""
    geometry = four(0.1)
    frames, values = dataset(geometry, 3, *SLAB)
    profile = pc.RadialProfile()(frames)
    ring, on_panel = np.rint(geometry.radius(SLAB)), geometry.panel_numbers(SLAB) >= 0
    numbers = np.arange(int(np.nanmax(ring)) + 1)
    for frame, got in zip(values, np.asarray(profile), strict=True):
        wanted = [frame[on_panel & (ring == n)].mean() if (on_panel & (ring == n)).any() else np.nan for n in numbers]
        np.testing.assert_allclose(got, wanted, rtol=1e-6)
    spec = unwrap(profile)[1]
    assert (spec.names, spec["q"].units) == (("frame", "q"), "1/nm")
    inside = on_panel & (ring == 15)
    assert spec["q"].values[15] == pytest.approx(geometry.q_map(SLAB)[inside].mean() * 1e-9, rel=0.01)


def test_signal_to_noise_of_gaps_is_zero() -> None:
    geometry = four()
    frames, _ = dataset(geometry, 2, *SLAB)
    snr = np.asarray(pc.RadialSNR((-100, 100))(frames))
    gaps = geometry.panel_numbers(SLAB) < 0
    assert not snr[:, gaps].any()
    assert (snr[:, ~gaps] != 0).mean() > 0.5
    background = np.asarray(pc.RadialMedian()(frames))
    assert np.isnan(background[:, gaps]).all()
    assert np.isfinite(background[:, ~gaps]).all()


def test_the_assembled_profile_is_close_to_that_of_the_slab() -> None:
    geometry = four()
    x, y, _ = geometry.coordinates(SLAB)
    frames, _ = dataset(geometry, 1, *SLAB)
    smooth = wrap(
        da.from_array(np.nan_to_num(1e6 * np.exp(-np.hypot(x, y)[None] * 600))),
        replace(unwrap(frames)[1], dtype=np.dtype("f8")),
        provenance=Provenance("given", {}),
    )
    of_slab = np.asarray(pc.RadialProfile()(smooth))[0]
    of_image = np.asarray((pc.Assemble() | pc.RadialProfile())(smooth))[0]
    both = slice(6, 17)
    np.testing.assert_allclose(of_image[both], of_slab[both], rtol=0.05)


def test_modules_become_a_slab_with_their_geometry() -> None:
    modules = PanelGeometry([panel(f"m{i}", 0, i, (9.0 * i, 3.0), module=i) for i in range(3)], wavelength=1e-10)
    frames, values = dataset(modules, 2, 3, 12, 11)
    stacked = pc.StackModules()(frames)
    array, spec = unwrap(stacked)
    np.testing.assert_array_equal(array.compute(), values.reshape(2, 36, 11))
    assert isinstance(spec.geometry, PanelGeometry)
    np.testing.assert_array_equal(spec.geometry.radius((36, 11)), modules.radius((3, 12, 11)).reshape(36, 11))
    image = (pc.StackModules() | pc.RadialSNR() | pc.Assemble())(frames)
    assert isinstance(unwrap(image)[1].geometry, Geometry)
    assert np.isfinite(np.asarray(image)).any()
    for operator in (pc.RadialSNR(), pc.Assemble()):
        with pytest.raises(AxisError, match="Put StackModules before"):
            operator(frames)
    with pytest.raises(AxisError, match="module"):
        pc.StackModules()(stacked)


def test_cutting_keeps_the_panels_right() -> None:
    geometry = four(0.1)
    frames, values = dataset(geometry, 3, *SLAB)
    whole = geometry.radius(SLAB)
    for operator, window in (
        (pc.Crop((6, 25)), (slice(3, 9), slice(7, 32))),
        (pc.Select(x=(5, 24), y=(2, None)), (slice(2, 12), slice(5, 25))),
    ):
        cut, spec = unwrap(operator(frames))
        np.testing.assert_array_equal(cut.compute(), values[:, *window])
        assert isinstance(spec.geometry, PanelGeometry)
        np.testing.assert_allclose(spec.geometry.radius(spec.shape[1:]), whole[window], rtol=1e-9)
    padded = unwrap(pc.Pad(width=3)(frames))[1]
    np.testing.assert_allclose(padded.geometry.radius((18, 46))[3:15, 3:43], whole, rtol=1e-12)


def test_cutting_modules() -> None:
    modules = PanelGeometry([panel(f"m{i}", 0, i, (9.0 * i, 3.0), module=i) for i in range(3)])
    frames, values = dataset(modules, 2, 3, 12, 11)
    whole = modules.radius((3, 12, 11))
    cut, spec = unwrap(pc.Select(module=(1, 2))(frames))
    np.testing.assert_array_equal(cut.compute(), values[:, 1:])
    np.testing.assert_array_equal(spec.geometry.radius((2, 12, 11)), whole[1:])
    one_frame = pc.take(frames, [1])
    assert unwrap(one_frame)[1].geometry == modules
    mask_spec = unwrap(frames)[1].only(("module", "y", "x"))
    mask = wrap(da.from_array(values[0]), mask_spec, provenance=Provenance("given", {}))
    np.testing.assert_array_equal(unwrap(pc.take(mask, [2, 0]))[1].geometry.radius((2, 12, 11)), whole[[2, 0]])


def test_bins_that_fit_panels_follow_and_others_are_refused() -> None:
    geometry = PanelGeometry(
        (replace(panel("a", 0, 0.2, (1, 2)), min_ss=0, max_ss=11), replace(panel("b", 20, 0, (30, 2)), min_ss=0, max_ss=11))
    )
    frames, _ = dataset(geometry, 1, *SLAB)
    spec = unwrap(pc.Bin(2)(frames))[1]
    whole = geometry.coordinates(SLAB)[0].reshape(6, 2, 20, 2).mean((1, 3))
    np.testing.assert_allclose(spec.geometry.coordinates((6, 20))[0], whole, rtol=1e-12)
    with pytest.raises(AxisError, match="would join pixels that stand apart"):
        pc.Bin(3)(frames)
    with pytest.raises(AxisError, match="Put Assemble before"):
        pc.Resize(8)(frames)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (pc.Crop(3, centre="beam"), "Put Assemble before"),
        (pc.RadialSNR(centre=(1, 2)), "centre is for a flat detector"),
        (pc.RadialProfile(centre="middle"), "centre is for a flat detector"),
        (pc.Assemble(fill=-1), "cannot hold fill"),
        (pc.Disassemble(four()), "assembled with these panels"),
        (pc.RadialSNR(mask=np.where(four().panel_numbers(SLAB) < 0, 0, 1)), "no pixel is left"),
    ],
)
def test_what_panels_cannot_do(operator: Operator, message: str) -> None:
    frames, _ = dataset(four(), 2, *SLAB)
    with pytest.raises(AxisError, match=message):
        np.asarray(operator(frames))


def test_what_assembling_refuses(image_spec: MakeSpec) -> None:
    with pytest.raises(AxisError, match="the dataset has a flat one"):
        pc.Assemble().bind(image_spec(11, 20))
    with pytest.raises(AxisError, match="the dataset has no geometry"):
        pc.Assemble().bind(image_spec(11, 20, beam=None))
    with pytest.raises(AxisError, match="geometry of other frames"):
        pc.Assemble(geometry=four()).output(image_spec(11, 20))
    with pytest.raises(AxisError, match="must be bound"):
        pc.Assemble().transform(torch.zeros(1, 1, 2, 2))
    with pytest.raises(AxisError, match="geometry of other frames"):
        pc.Disassemble(four(), (3, 3))
    with pytest.raises(ParameterError, match="must be a PanelGeometry"):
        pc.Assemble(geometry=Geometry((1, 2)))
    with pytest.raises(ParameterError, match="finite"):
        pc.Assemble(fill=np.inf)
    with pytest.raises(ParameterError, match="three axes"):
        pc.StackModules(axes=("y", "x"))


def test_defects_are_found_on_panels() -> None:
    geometry = four()
    frames, values = dataset(geometry, 30, *SLAB)
    values[:, 5, 15] += 100
    hot = wrap(da.from_array(values), unwrap(frames)[1], provenance=Provenance("given", {}))
    (mask,) = pc.fit(pc.DefectMask(), hot)
    assert np.argwhere(mask.mask.values).tolist() == [[5, 15]]
