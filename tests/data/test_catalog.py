"""A data set is one spec: the reader, the doctor and the synthetic writer need nothing else."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from leffa.data.batch import Record
from leffa.data.catalog import CATALOG, VITON_HD
from leffa.data.doctor import examine
from leffa.data.doctor.contents import CONTENTS
from leffa.data.reader import TryOnPairs
from leffa.synthetic.samples import ENCODERS, TRYON_ENCODERS
from leffa.synthetic.write import write_dataset


def test_a_new_data_set_is_one_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(name: str) -> str:
        return {"image": "people", "cloth": "clothes"}.get(name, name)

    groups = tuple(
        replace(
            group,
            files=tuple(
                replace(files, folder=tuple(rename(name) for name in files.spellings))
                for files in group.files
            ),
        )
        for group in VITON_HD.groups
    )
    new = replace(VITON_HD, title="New", groups=groups)
    for table in (CATALOG, examine.DATASETS):
        monkeypatch.setitem(table, "new", new)

    write_dataset("new", tmp_path, train=2, test=2, height=64, width=48)
    records = TryOnPairs("new", tmp_path, "test", "unpaired", densepose="colour")
    assert records[0].source == tmp_path / "test/people/50000_00.jpg"
    assert records[0].reference == tmp_path / "test/clothes/50001_00.jpg"
    assert all(record.parse and record.keypoints and record.mask for record in records)
    report = examine.examine(tmp_path, "new")
    assert report.title == "New"
    assert report.clean and report.files == 4 * 12 + 2 * 3  # two test persons in other garments
    (tmp_path / "test/people/50000_00.jpg").unlink()
    assert [found.kind for found in examine.examine(tmp_path, "new").problems] == ["file-missing"]


@pytest.mark.parametrize("name", CATALOG)
def test_a_spec_names_what_exists(name: str) -> None:
    spec = CATALOG[name]
    of_records = {field.name for field in fields(Record)}
    for files in (files for group in spec.groups for files in group.files):
        assert files.content in CONTENTS
        assert files.field is None or files.field in of_records
        assert files.pattern.count("{}") == 1
        assert files.key(files.pattern.format("00001")) == "00001"
        assert files.key("another.txt") is None
        if spec.synthetic is not None:
            assert (files.encoder or files.content) in ENCODERS | TRYON_ENCODERS
