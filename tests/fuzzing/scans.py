"""Mutated DICOM files, zips of scans, and label volumes; see `mutations`."""

import functools
import io
import random
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from pydicom.dataelem import DataElement

from cosup_jax.scans import dicom, dicom_seg, find, masks
from tests.fuzzing.mutations import Target, mutate_bytes
from tests.scans.dicom_series import make_images, save
from tests.scans.enhanced import make_enhanced

_TEXTS = ("", "0", "-1", "1e308", "nan", "x", "1.2.3", "\0", "ü" * 80, "9" * 20)
_TEXT_TYPES = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UI"}
_NUMBERS = (0, 1, 7, 65535, [1, 2], [])
_HU = np.arange(3 * 6 * 5).reshape(3, 6, 5) * 20 - 1000


def targets() -> dict[str, Target]:
    """Returns the targets by name."""
    images, enhanced = _series()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = save(folder / "series", images)
        first, *others = [path.read_bytes() for path in paths]
        save(folder, [enhanced], ["enhanced"])
        several = (folder / "enhanced").read_bytes()
        series = dicom.read_series(paths)
        dicom_seg.write(folder / "mask.dcm", (_HU > 0).astype(np.uint8), series, "mask")
        segmentation = (folder / "mask.dcm").read_bytes()

    def beside(place: Path) -> None:
        for number, content in enumerate(others):
            (place / f"{number}.dcm").write_bytes(content)

    one = Target("x.dcm", (first,), _read_folder, mutate_bytes, beside)
    alone = Target("x.dcm", (several,), _read_folder, mutate_bytes)
    elements = functools.partial(_with, mutate=mutate_elements)
    labels = (_HU[0] > -500).astype(np.uint8)[..., None]
    place = np.diag([-1.0, -1.0, 2.0, 1.0])
    volume = nib.Nifti1Image(labels, place).to_bytes()
    scan = nib.Nifti1Image(_HU.T.astype(np.int16), place).to_bytes()
    return {
        "DICOM": one,
        "DICOM elements": elements(one),
        "enhanced DICOM": alone,
        "enhanced DICOM elements": elements(alone),
        "zips of DICOM": Target(
            "x.zip", tuple(_zip([first, *others], kind) for kind in _KINDS), _read_zip, mutate_bytes
        ),
        "zips of NIfTI": Target(
            "x.zip", (_zip([scan], zipfile.ZIP_DEFLATED, ".nii"),), _read_zip, mutate_bytes
        ),
        "Segmentations": Target(
            "x.dcm", (segmentation,), lambda p: masks.read(p / "x.dcm"), mutate_bytes
        ),
        "Segmentations' elements": Target(
            "x.dcm", (segmentation,), lambda p: masks.read(p / "x.dcm"), mutate_elements
        ),
        "label volumes": Target(
            "x.nii", (volume,), lambda p: masks.read(p / "x.nii"), mutate_bytes
        ),
    }


_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def _with(target: Target, mutate) -> Target:
    return Target(target.name, target.seeds, target.read, mutate, target.beside)


def _series():
    images = make_images(_HU)
    return images, make_enhanced(make_images(_HU))


def _zip(contents, kind: int, suffix: str = "") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", kind) as archive:
        for number, content in enumerate(contents):
            archive.writestr(f"scan/{number}{suffix}", content)
    return file.getvalue()


def _read_folder(place: Path) -> object:
    return dicom.read_series(sorted(place.glob("*.dcm")))


def _read_zip(place: Path) -> object:
    found = find.find_scans([place / "x.zip"], place / "out")
    return [(source.digest(), source.read()) for source in found.scans]


def mutate_elements(content: bytes, draw: random.Random) -> bytes:
    """Replaces or drops elements of a DICOM file, at any depth; or mutates its bytes."""
    if draw.random() < 0.1:
        return mutate_bytes(content, draw)
    file = io.BytesIO()
    try:
        with pydicom.config.disable_value_validation():
            header = pydicom.dcmread(io.BytesIO(content))
            for _ in range(draw.choice((1, 1, 2, 4))):
                place, element = draw.choice(list(_elements(header)))
                if draw.random() < 0.25:
                    place.pop(element.tag, None)
                elif (value := _other_value(element, draw)) is not None:
                    place[element.tag] = DataElement(element.tag, element.VR, value)
            header.save_as(file, enforce_file_format=True)
    # What cannot be written cannot be read either.
    except Exception:
        return mutate_bytes(content, draw)
    return file.getvalue()


def _elements(place):
    for element in [*getattr(place, "file_meta", ()), *place]:
        yield place, element
        for item in element.value if element.VR == "SQ" else ():
            yield from _elements(item)


def _other_value(element: DataElement, draw: random.Random) -> object:
    if element.VR in _TEXT_TYPES:
        return draw.choice((*_TEXTS, [*_TEXTS[:3]], [*_TEXTS]))
    if element.VR in ("US", "UL", "SS", "SL"):
        return draw.choice(_NUMBERS)
    if element.VR in ("FD", "FL"):
        return draw.choice((0.0, -1.0, 3e38, float("nan"), [1.0, 2.0], []))
    if element.VR in ("OW", "OB"):
        return element.value[: draw.randrange(len(element.value) + 1)]
    return [] if element.VR == "SQ" else None
