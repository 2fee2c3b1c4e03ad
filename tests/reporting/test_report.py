"""The report says what there is to say, and holds all of it."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from classified import CLASSES, bundle, evaluation, images, predictions

import pycroclass as pc
from pycroclass.errors import ParameterError, WriteError
from pycroclass.evaluation import Evaluation, OperatingPoint, evaluation_of, with_step
from pycroclass.evaluation.bootstrap import Interval
from pycroclass.evaluation.gap import gaps
from pycroclass.item_spec import ItemAxis, ItemSpec
from pycroclass.networks import SpectrumResNet
from pycroclass.per_item import take
from pycroclass.provenance import Provenance
from pycroclass.reporting import report
from pycroclass.reporting.about import baselines
from pycroclass.reporting.notes import lead, notes
from pycroclass.reporting.parts import bounds, number
from pycroclass.sid import wrap
from pycroclass.spec import Axis, AxisKind, Spec

VOID = {"meta", "img", "br", "link", "input", "hr"}
HOSTILE = ('<script>alert("a")</script>', "\"><img src=x onerror='alert(1)'>", "{{ 7 * 7 }}")


class Reader(HTMLParser):
    """Collects the tags and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.seen if name == tag]


def parsed(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    seen = evaluation().at([OperatingPoint("crystal", 0.3, "sensitivity 0.98, conformal")])
    return parsed(report(seen, tmp_path_factory.mktemp("whole") / "report.html", bundle=bundle(), dataset=images()))


def test_has_every_section(whole: Reader) -> None:
    anchors = [a["href"] for a in whole.attributes("a") if a["href"] != "#main"]
    wanted = ("training", "confusion", "groups", "curves", "calibration", "thresholds", "items", "baselines", "filters", "origin")
    assert anchors == [f"#{name}" for name in wanted]
    assert {attributes["id"] for attributes in whole.attributes("h2")} == {*wanted, "notes"}


def test_numbers_are_those_of_the_evaluation(whole: Reader) -> None:
    text = " ".join(whole.text)
    seen = evaluation()
    assert number(seen.pooled.balanced_accuracy) in text
    assert bounds(seen.intervals["balanced_accuracy"]) in text
    for name, found in seen.per_group.items():
        interval = bounds(seen.group_intervals[name]["balanced_accuracy"])
        assert f"{name} {found.support} {number(found.balanced_accuracy)} {interval}" in text


def test_needs_nothing_but_itself(whole: Reader) -> None:
    addresses = [attributes.get("src") or "" for attributes in whole.attributes("img")]
    assert all(re.match(r"data:image/(png|jpeg|svg\+xml);base64,", address) for address in addresses)
    assert not {tag for tag, _ in whole.seen} & {"script", "link", "iframe", "object"}
    (policy,) = [a["content"] for a in whole.attributes("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert (policy or "").startswith("default-src 'none'")


def test_every_picture_says_what_it_shows(whole: Reader) -> None:
    pictures = whole.attributes("img")
    assert len(pictures) > 30
    assert all(len(attributes["alt"] or "") > 10 for attributes in pictures)
    assert any("Confusion matrix" in (a["alt"] or "") and "of 30 right" in (a["alt"] or "") for a in pictures)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in whole.attributes("meta")
    assert whole.attributes("html") == [{"lang": "en"}]
    ids = [attributes["id"] for _, attributes in whole.seen if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_what_others_wrote_is_text_and_nothing_else(tmp_path: Path) -> None:
    seen = replace(predictions(HOSTILE), groups=np.array([HOSTILE[i % 3] for i in range(90)]), names=np.array(["<i>.png"] * 90))
    found = evaluation_of(seen, n_bootstrap=10, provenance={"groups": "<b>plate</b>"})
    data = images()
    data.metadata["classes"] = list(HOSTILE)
    path = report({"<u>": found, "&": found}, tmp_path / "r.html", bundle=bundle(HOSTILE), dataset=data, title="<h1>&amp;")
    reader = parsed(path)
    assert not {tag for tag, _ in reader.seen} & {"script", "i", "u"}
    assert not any(attributes.get("onerror") for _, attributes in reader.seen)
    assert all(name in " ".join(reader.text) for name in (*HOSTILE, "<h1>&amp;", "<i>.png"))


def test_an_evaluation_alone_will_do(tmp_path: Path) -> None:
    reader = parsed(report(evaluation(n_groups=0), tmp_path / "r.html"))
    anchors = [a["href"] for a in reader.attributes("a")]
    assert anchors == ["#main", "#confusion", "#curves", "#calibration", "#origin"]
    assert "Groups are not known" in " ".join(reader.text)


def test_several_are_compared_with_the_first(tmp_path: Path) -> None:
    worse = evaluation_of(replace(predictions(), labels=np.roll(predictions().labels, 1)), n_bootstrap=20)
    text = " ".join(parsed(report({"known sites": evaluation(), "new site": worse}, tmp_path / "r.html")).text)
    gap = evaluation().pooled.balanced_accuracy - worse.pooled.balanced_accuracy
    assert f"known sites minus new site: {number(gap)} in balanced accuracy" in text


def test_the_gap_to_new_groups_is_told(tmp_path: Path) -> None:
    seen, new = predictions(), replace(predictions(), labels=np.roll(predictions().labels, 1))
    found = replace(evaluation_of(new, n_bootstrap=20), gaps=gaps(seen, new, n_bootstrap=20))
    path = report(found, tmp_path / "r.html")
    text = " ".join(parsed(path).text)
    gap = found.gaps["balanced_accuracy"]
    assert f"On groups that it has learned from it is better by {number(gap.difference)}" in text
    assert f"balanced accuracy {number(gap.inside)} {number(gap.outside)} {number(gap.difference)} {bounds(gap.interval)}" in text


def test_spectra_are_drawn_as_curves(tmp_path: Path) -> None:
    parameters = {"n_classes": 3, "length": 50, "width": 4}
    module = SpectrumResNet(**parameters)
    network = pc.Classify("resnet_spectrum", parameters, module.state_dict(), classes=CLASSES)
    item = ItemSpec("spectrum", (ItemAxis("energy", 50),))
    axes = (Axis("item", 90, AxisKind.TEMPORAL), Axis("energy", 50, AxisKind.SPECTRAL))
    values = np.random.default_rng(0).normal(size=(90, 50)).astype(np.float32)
    data = wrap(da.from_array(values), Spec(axes, np.dtype(np.float32)), provenance=Provenance("given", {}))
    trained = pc.Bundle(pc.ZScore() | network, item, CLASSES)
    reader = parsed(report(evaluation(), tmp_path / "r.html", bundle=trained, dataset=data))
    drawn = [a["src"] or "" for a in reader.attributes("img") if "called" in (a["alt"] or "")]
    assert len(drawn) >= 9
    assert all(source.startswith("data:image/svg+xml") for source in drawn)
    assert "Grad-CAM" not in " ".join(reader.text)


def test_a_calibrated_bundle_that_may_be_uncertain_is_explained_by_its_network(tmp_path: Path) -> None:
    whole = bundle()
    steps = (*whole.pipeline.steps(), pc.TemperatureScale(1.7), pc.SureClass((0.6, 0.6, 0.6)))
    sure = pc.Bundle(pc.Pipeline(steps), whole.item, whole.classes)
    decided = np.where(predictions().confidence < 0.6, 3, predictions().most_probable)
    seen = evaluation_of(replace(predictions(), decided=decided), n_bootstrap=0)
    reader = parsed(report(seen, tmp_path / "r.html", bundle=sure, dataset=images()))
    assert any(a["alt"] == "Grad-CAM of the same item" for a in reader.attributes("img"))
    text = " ".join(reader.text)
    assert f"Left uncertain, and counted as not found: {sum(seen.pooled.uncertain)} of 90 items" in text
    assert "Crop → ZScore → Classify → TemperatureScale → SureClass" in text


def test_equal_input_gives_equal_files(tmp_path: Path) -> None:
    first, second = (report(evaluation(), tmp_path / name, bundle=bundle(), dataset=images()).read_bytes() for name in ("a.html", "b.html"))
    assert first == second


def test_a_report_survives_being_stored(tmp_path: Path) -> None:
    saved = evaluation().save(tmp_path / "e.json")
    first, second = (report(e, tmp_path / f"{i}.html").read_bytes() for i, e in enumerate((evaluation(), Evaluation.load(saved))))
    assert first == second


def test_refuses_what_it_cannot_do(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="need the bundle"):
        report(evaluation(), tmp_path / "r.html", dataset=images())
    with pytest.raises(ParameterError, match="nothing to report"):
        report({}, tmp_path / "r.html")
    report(evaluation(), tmp_path / "r.html")
    with pytest.raises(WriteError, match="overwrite=True"):
        report(evaluation(), tmp_path / "r.html")
    with pytest.raises(WriteError):
        report(evaluation(), tmp_path / "missing" / "r.html")


def test_where_items_cannot_be_told_the_report_says_so(tmp_path: Path) -> None:
    seen = evaluation_of(replace(predictions(n=60), names=None), n_bootstrap=0)
    text = " ".join(parsed(report(seen, tmp_path / "r.html", bundle=bundle(), dataset=images())).text)
    assert "No pictures: the evaluation is of 60 items, the dataset has 90" in text


WARNINGS = {
    "groups only": (evaluation(), {}),
    "treat every item as independent": (evaluation(n_groups=0), {}),
    "Few items of clear (10)": (evaluation(n=30, n_groups=2), {}),
    "does not beat random forest (0.990)": (evaluation(), {"baselines": {"random forest": {"balanced_accuracy": 0.99}}}),
    "cannot be told apart from random forest (0.880; difference": (evaluation(), {}),
    "for lack of time after 8 epochs": (evaluation(), {"stopped": "max_seconds"}),
    "is not the one that was evaluated": (evaluation(bundle={"digest": "sha256:other"}), {}),
    "The confidence is no probability: it is higher": (evaluation(), {}),
}


@pytest.mark.parametrize("text", WARNINGS)
def test_warns(text: str) -> None:
    seen, training = WARNINGS[text]
    assert [note for note in notes(seen, bundle(**training)) if text in note.text and note.is_warning]


def record(*names: str, part: str | None = None) -> dict[str, object]:
    """What provenance says of some files, or of some items of them."""
    files = [{"path": f"/d/{name}", "size": 7, "modified": 1, "digest": f"sampled:{name}"} for name in names]
    read = {"verb": "read", "parameters": {}, "inputs": [], "files": files}
    return {"verb": "take", "parameters": {"index": part}, "inputs": [read], "files": []} if part else read


@pytest.mark.parametrize(
    ("evaluated", "trained", "text", "is_warning"),
    [
        (record("b", "c"), record("a", "b"), "1 file of the evaluated data", True),
        (record("b"), record("b", part="sha256:1"), "1 file of the evaluated data", True),
        (record("b"), record("b"), "learned from: these very items", True),
        (record("b", part="sha256:1"), record("b", part="sha256:1"), "learned from: these very items", True),
        (record("b", part="sha256:2"), record("b", part="sha256:1"), "look for near duplicates", False),
    ],
)
def test_tells_of_files_on_both_sides(evaluated: dict, trained: dict, text: str, is_warning: bool) -> None:
    found = [note for note in notes(evaluation(data=evaluated), bundle(sources=[trained])) if text in note.text]
    assert [note.is_warning for note in found] == [is_warning]
    apart = notes(evaluation(data=record("x")), bundle(sources=[trained]))
    assert not any("both sides" in note.text or "near duplicates" in note.text for note in apart)


def test_a_network_beats_what_it_leads_by_more_than_chance() -> None:
    many = {"counts": {"validation": dict.fromkeys(CLASSES, 2000)}, "baselines": {"random forest": {"balanced_accuracy": 0.8}}}
    (note,) = [note for note in notes(evaluation(), bundle(**many)) if "random forest" in note.text]
    assert not note.is_warning
    assert "beats every baseline" in note.text
    assert "Its epoch was chosen on these items, which favours it" in note.text


def test_an_unknown_score_beats_nothing() -> None:
    whole = replace(bundle(), metrics={})
    section = baselines(whole)
    assert section is not None
    assert section.text == ""
    assert not [note for note in notes(evaluation(), whole) if "random forest" in note.text]


def test_the_interval_of_a_lead_is_no_too_narrow() -> None:
    """Two classifiers on items of their own, of two classes with 15 and 40 items."""
    rng, counts, truth = np.random.default_rng(0), np.array([15, 40]), (0.92, 0.85)
    scores = [(rng.binomial(counts, p, (1000, 2)) / counts).mean(1) for p in truth]
    leads = [lead(*pair, counts.tolist()) for pair in zip(*scores, strict=True)]
    assert 0.94 < np.mean([one.low <= truth[0] - truth[1] <= one.high for one in leads]) < 0.99
    assert np.isnan(lead(0.9, 0.8, []).low)


def test_tells_of_a_step_that_was_found_on_the_evaluated_items() -> None:
    step = [{"ClassThreshold": {"positive": "crystal", "threshold": 0.2}}]
    whole = bundle(sources=[record("a")], after_training=[{"step": step, "items": 9, "evaluation": {"data": record("b")}}])
    (note,) = [
        note for note in notes(evaluation(data=record("b")), whole) if "that ClassThreshold was found on: these very items" in note.text
    ]
    assert note.is_warning
    assert not [note for note in notes(evaluation(data=record("c")), whole) if "ClassThreshold" in note.text]


@pytest.mark.parametrize(
    ("evaluated", "trained", "is_told"),
    [({}, {}, False), ({"values": "sampled:1"}, {"values": "sampled:1"}, True), ({"values": "sampled:1"}, {"values": "sampled:2"}, False)],
)
def test_equal_records_of_given_data_accuse_nobody_but_equal_values_do(evaluated: dict, trained: dict, is_told: bool) -> None:
    given = {"verb": "given", "parameters": {"shape": [9, 4, 4]}, "inputs": [], "files": []}
    told = notes(evaluation(data=given | evaluated), bundle(sources=[given | trained]))
    assert any("these very items" in note.text for note in told) == is_told


def test_data_in_memory_that_a_step_was_found_on_are_known_again() -> None:
    items, others = images(30, size=32), take(images(60, size=32), np.arange(30, 60))
    first = pc.evaluate(bundle(), items, n_bootstrap=0)
    decided = with_step(bundle(), pc.ClassThreshold("crystal", 0.2), found_on=first)
    for data, is_told in ((items, True), (others, False)):
        told = notes(pc.evaluate(decided, data, n_bootstrap=0), decided)
        assert any("that ClassThreshold was found on: these very items" in note.text for note in told) == is_told


@pytest.mark.parametrize(("prior", "is_told"), [((0.9, 0.05, 0.05), True), ((0.3, 0.35, 0.35), False)])
def test_tells_of_other_shares_of_the_classes_than_stated(prior: tuple[float, ...], is_told: bool) -> None:
    balance = {"method": "weights", "prior": dict(zip(CLASSES, prior, strict=True))}
    found = [note.text for note in notes(evaluation(), bundle(balance=balance)) if "trained for other shares" in note.text]
    assert bool(found) == is_told
    assert all("clear 0.900 stated, 0.333 here" in text for text in found)


def test_says_nothing_where_nothing_is_wrong() -> None:
    seen = predictions(n=900, n_groups=30)
    calm = evaluation_of(seen, n_bootstrap=0)
    calm = replace(calm, pooled=replace(calm.pooled, ece=0.01), intervals={"balanced_accuracy": Interval(0.8, 0.9)})
    weak = [name for name, one in calm.per_group.items() if one.balanced_accuracy < calm.pooled.balanced_accuracy - 0.15]
    assert [note.text.split(":")[0] for note in notes(calm, None) if note.is_warning] == (["Far below the rest"] if weak else [])
