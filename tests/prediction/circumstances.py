"""What becomes of scans in odd circumstances, tried out; and the table of it in docs/prediction.md.

    python -m tests.prediction.circumstances      writes the table anew

Each circumstance makes its input in an empty folder, which then goes through `predict` with a
segmenter that costs nothing. A plain scan lies beside it where something has to be set aside.
"""

import re
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import DeflatedExplicitVRLittleEndian as DEFLATED
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage

from cosup_jax import phantom
from cosup_jax.prediction import cohort
from cosup_jax.prediction.settings import Settings
from cosup_jax.scans import find
from tests.prediction.scan_files import NETWORK, Brightest
from tests.scans.dicom_series import make_images, save
from tests.scans.enhanced import make_enhanced
from tests.scans.nifti_files import affine_of, forge

PAGE = Path(__file__).parents[2] / "docs" / "prediction.md"
BEGIN, END = "<!-- circumstances: made by the tests -->\n", "<!-- end of circumstances -->\n"

CHEST = phantom.draw_volume(5, size=48, slices=10)
HU = CHEST.image.astype(np.int16)
Z, Y, X = CHEST.spacing
STORED = np.ascontiguousarray(HU.transpose(2, 1, 0))
AFFINE = affine_of("LPS", (X, Y, Z))
GREY = np.clip(np.rint((HU + 1350) / 1500 * 255), 0, 255).astype(np.uint8)


def volume(folder, voxels=STORED, affine=AFFINE, name="ct.nii", **fields):
    return forge(folder / name, voxels, affine, **fields)


def series(folder, change=None, hu=HU, **fields):
    """Writes a DICOM series; `change` is called with each image and its number."""
    images = make_images(hu, CHEST.spacing, **fields)
    for i, image in enumerate(images):
        if change is not None:
            change(image, i)
    return save(folder, images)


def slices(folder, pictures=GREY, kind="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(folder / f"s{i:02}.{kind}")


def without(paths, number):
    paths[number].unlink()


def copied(paths):
    shutil.copy(paths[0], paths[0].with_name("copy of it"))


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def sheared():
    affine = AFFINE.copy()
    affine[1, 2] += 0.4 * Z
    return affine


def zipped(folder, name="scan.zip"):
    with zipfile.ZipFile(folder / name, "w") as archive:
        for path in sorted(folder.iterdir()):
            if path.suffix != ".zip":
                archive.write(path, path.name)
                path.unlink()


def in_zip(make):
    def made(folder):
        make(folder)
        zipped(folder)

    return made


def beside(make):
    """A plain series, and something beside it."""

    def made(folder):
        series(folder)
        make(folder)

    return made


def secondary(folder):
    image = make_images(HU[:1], CHEST.spacing)[0]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    save(folder, [image], ["capture"])


def localizer(folder):
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(folder, make_images(HU[:1], CHEST.spacing, ImageType=kind), ["scout"])


def labels(folder):
    volume(folder)
    lung = np.ascontiguousarray((CHEST.lung > 0).transpose(2, 1, 0), np.uint8)
    volume(folder, lung, name="lung_mask.nii")


def results(folder):
    volume(folder)
    sources, _ = find.find_scans([folder], folder)
    cohort.process(sources, folder, NETWORK, Settings())


def having(only=None, **fields):
    """A series with fields set in all images, or in one of them."""

    def change(image, i):
        for name, value in fields.items():
            if only in (None, i):
                setattr(image, name, value)

    return lambda folder: series(folder, change)


def offset_of(number):
    return STORED.astype(np.int32) + number


def spread(folder):
    for i, path in enumerate(series(folder)):
        (folder / f"D{i % 2}").mkdir(exist_ok=True)
        path.rename(folder / f"D{i % 2}" / path.name)


def recompressed(paths):
    image = pydicom.dcmread(paths[0])
    image.compress(RLELossless, generate_instance_uid=False)
    image.save_as(paths[0].with_name("copy"), enforce_file_format=True)


def deflated(folder):
    series(folder, lambda image, i: setattr(image.file_meta, "TransferSyntaxUID", DEFLATED))


def cut_zip(folder):
    in_zip(series)(folder)
    cut(folder / "scan.zip")


def of_four_axes(folder):
    nib.save(nib.Nifti1Image(np.stack([STORED, STORED], -1), AFFINE), folder / "ct.nii")


def with_nan(folder):
    volume(folder, np.where(STORED > 0, np.nan, np.float32(STORED)))


def in_metres(folder):
    scale = np.array([[1e-3], [1e-3], [1e-3], [1]])
    volume(folder, affine=AFFINE * scale, xyzt_units=1)


def enhanced(folder):
    folder.mkdir(exist_ok=True)
    make_enhanced(make_images(HU, CHEST.spacing)).save_as(folder / "one", enforce_file_format=True)


UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
CIRCUMSTANCES = {
    "DICOM": {
        "identifiers of images, series, study and frame emptied": having(**dict.fromkeys(UIDS, "")),
        "no SOPClassUID in the data set": lambda f: series(f, lambda i, _: i.pop("SOPClassUID")),
        "one enhanced (multi-frame) file": enhanced,
        "spread over folders": spread,
        "an exact copy of an image": lambda f: copied(series(f)),
        "a copy of an image, compressed": lambda f: recompressed(series(f)),
        "an image is missing": lambda f: without(series(f), 3),
        "two images in one place": having(3, ImagePositionPatient=[-100, -120, -300 + 2 * Z]),
        "an image is turned": having(3, ImageOrientationPatient=[0, 1, 0, -1, 0, 0]),
        "a file is cut off": lambda f: cut(series(f)[3], 0.7),
        "the gantry is tilted": lambda f: series(f, step=(0, 0.4 * Z, Z)),
        "a single image": lambda f: series(f, hu=HU[4:5]),
        "RescaleType of an iodine map": having(RescaleType="MGML"),
        "a rescale slope of 2 that is none": having(RescaleSlope=2),
        "rescaling differs between images": having(3, RescaleIntercept=-1000),
        "colour": having(PhotometricInterpretation="RGB"),
        "32 bits a pixel": having(BitsAllocated=32, BitsStored=32, HighBit=31),
        "several frames that nothing places": having(NumberOfFrames=2),
        "deflated": deflated,
        "white is 0 (MONOCHROME1)": having(PhotometricInterpretation="MONOCHROME1"),
        "one of its files is no DICOM any more": lambda f: series(f)[-1].write_bytes(b"x" * 600),
        "a localizer beside it": beside(localizer),
        "a secondary capture beside it": beside(secondary),
        "previews beside it": beside(lambda f: slices(f, GREY[:2], "jpg")),
        "other files beside it": beside(lambda f: (f / "read.me").write_text("x")),
        "in a zip": in_zip(series),
        "in a zip that is cut off": cut_zip,
    },
    "NIfTI": {
        "in a zip": in_zip(volume),
        "HU + 1024": lambda f: volume(f, offset_of(1024)),
        "HU + 1500": lambda f: volume(f, offset_of(1500)),
        "an intercept applied twice": lambda f: volume(f, offset_of(-1024)),
        "HU + 24": lambda f: volume(f, offset_of(24)),
        "values below −600 cut off": lambda f: volume(f, STORED.clip(-600)),
        "grey values from 0 to 1": lambda f: volume(f, np.float32(STORED + 1350) / 4000),
        "a sheared grid": lambda f: volume(f, affine=sheared()),
        "no orientation": lambda f: volume(f, sform_code=0, qform_code=0),
        "no voxel sides": lambda f: volume(f, sform_code=0, qform_code=0, pixdim=[1, 0, 0, 0] * 2),
        "in metres": in_metres,
        "in µm, which its voxels cannot be": lambda f: volume(f, xyzt_units=3),
        "values that are no numbers": with_nan,
        "cut off": lambda f: cut(volume(f)),
        "gzip in name only": lambda f: volume(f).rename(f / "ct.nii.gz"),
        "several volumes in one file": of_four_axes,
        "one slice without a third axis": lambda f: volume(f, STORED[..., 4]),
        "label maps beside it": labels,
        "results of an earlier call beside it": results,
    },
    "slices": {
        "16 bits that hold HU + 1024": lambda f: slices(f, np.uint16(HU + 1024)),
        "16 bits of grey": lambda f: slices(f, np.uint16(GREY) * 257),
        "slices of different sizes": lambda f: slices(f, [g[i:] for i, g in enumerate(GREY)]),
        "colour": lambda f: slices(f, np.stack([GREY, GREY // 2, 255 - GREY], -1)),
        "8 and 16 bits": lambda f: slices(f, [*GREY[:4], *(np.uint16(GREY[4:]) * 257)]),
    },
    "any": {
        "an empty folder": lambda f: None,
        "an archive of another kind": lambda f: (f / "scan.tar.gz").write_bytes(b"x"),
    },
}


class Nothing(Brightest):
    """Marks nothing, so that nothing is said of marks."""

    def labelled(self, slices, intensity, count, box=None):
        for bright, classes in super().labelled(slices, intensity, count):
            yield 0 * bright, classes


PLAIN = {"DICOM": series, "NIfTI": volume, "slices": slices, "any": volume}


def try_out(make):
    """Returns the status of each scan of an input, and what is said of them."""
    with tempfile.TemporaryDirectory() as place:
        folder, out = Path(place) / "in", Path(place) / "out"
        folder.mkdir()
        make(folder)
        try:
            sources, aside = find.find_scans([folder], out)
        except ValueError as error:
            return [], [_shown(str(error), place)]
        rows = cohort.process(sources, out, NETWORK, Settings())
    said = [text for row in rows for text in (row.get("reason", ""), *row["notes"].split("; "))]
    left = [f"set aside: {kind}" for kind in sorted(aside.counts)]
    # What lies beside a series stands in its notes too.
    said = [text for text in said if re.sub(r"aside: \d+ ", "aside: ", text) not in left]
    return [row["status"] for row in rows], [_shown(text, place) for text in (*said, *left) if text]


def _shown(text, place):
    text = text.replace(f"{Path(place).resolve() / 'in'}", "INPUT").replace("INPUT/", "")
    text = re.sub(r"^no (\w+(, )?)+: ", "empty fields: ", text)
    text = re.sub(r"\d+\.\d{3}\b", "…", text)  # a finding, which is not the matter here
    return " ".join(text.split()).replace("|", "/")


def rows():
    """Yields kind, circumstance, outcome, what is said."""
    plain = {kind: try_out(make)[1] for kind, make in PLAIN.items()}
    for kind, circumstances in CIRCUMSTANCES.items():
        for name, make in circumstances.items():
            status, said = try_out(make)
            said = [text for text in said if text not in plain[kind]]
            outcome = "read and noted" if said else "read"
            if "done" not in status:
                outcome = "refused"
            elif any(text.startswith("set aside") for text in said):
                outcome = "read, the rest set aside"
            assert len(status) < 2, f"{name}: {status}"
            yield kind, name, outcome, "; ".join(said)


def block():
    """Returns the table as the page has it."""
    lines = ["| | circumstance | what becomes of it | what is said |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows()]
    return "\n".join(lines) + "\n"


def main():
    cohort.Segmenter = Nothing
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + block() + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
