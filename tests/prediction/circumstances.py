"""What becomes of scans in odd circumstances, tried out; and the table of it in docs/prediction.md.

    python -m tests.prediction.circumstances      writes the table anew

Each circumstance makes its input in an empty folder, which then goes through `predict` with a
segmenter that costs nothing. A plain scan lies beside it where something has to be set aside.
"""

import re
import sys
import tempfile
from pathlib import Path

import numpy as np
from pydicom.uid import MRImageStorage

from cosup_jax.prediction import cohort
from cosup_jax.prediction.settings import Settings
from cosup_jax.scans import find
from cosup_jax.weights import lung_network
from tests.prediction import odd_dicom
from tests.prediction import odd_scans as odd
from tests.prediction.odd_dicom import UIDS, having, lacking
from tests.prediction.odd_scans import (
    AFFINE,
    CHEST,
    GREY,
    HU,
    STORED,
    Z,
    beside,
    in_zip,
    offset_of,
    series,
    slices,
    volume,
)
from tests.prediction.scan_files import NETWORK, Brightest, no_lung

PAGE = Path(__file__).parents[2] / "docs" / "prediction.md"
BEGIN, END = "<!-- circumstances: made by the tests -->\n", "<!-- end of circumstances -->\n"

CIRCUMSTANCES = {
    "DICOM": {
        "identifiers of images, series, study and frame emptied": having(**dict.fromkeys(UIDS, "")),
        "no SOPClassUID in the data set": lambda f: series(f, lambda i, _: i.pop("SOPClassUID")),
        "one enhanced (multi-frame) file": odd_dicom.enhanced,
        "spread over folders": odd_dicom.spread,
        "no preamble and no magic word": odd_dicom.beheaded,
        "some images without SeriesInstanceUID": having(3, SeriesInstanceUID=""),
        "a series of its own for each image": odd_dicom.each_its_own("SeriesInstanceUID"),
        "a study of its own for each image": odd_dicom.each_its_own("StudyInstanceUID"),
        "two kernels in one series": odd_dicom.two(ConvolutionKernel="sharp"),
        "two patients with one identifier of a series": odd_dicom.two(PatientID="another"),
        "an image of another matrix in the series": odd_dicom.one_more(Rows=24),
        "an image of the series without a place": odd_dicom.one_more(ImagePositionPatient=None),
        "an exact copy of an image": lambda f: odd_dicom.copied(series(f)),
        "a copy of an image, compressed": lambda f: odd_dicom.recompressed(series(f)),
        "an image is missing": lambda f: odd.without(series(f), 3),
        "two images in one place": having(3, ImagePositionPatient=[-100, -120, -300 + 2 * Z]),
        "an image is turned": having(3, ImageOrientationPatient=[0, 1, 0, -1, 0, 0]),
        "an image lies beside the line of all": having(
            3, ImagePositionPatient=[0, 0, -300 + 3 * Z]
        ),
        "directions as rounded": having(ImageOrientationPatient=[0.996, 0, 0, 0, 0.996, 0]),
        "positions are lost": lacking("ImagePositionPatient"),
        "PixelSpacing is lost": lacking("PixelSpacing"),
        "a PixelSpacing that no scan has": having(PixelSpacing=[5e-5, 5e-5]),
        "slices thinner than their distance": having(SliceThickness=2),
        "a file is cut off": lambda f: odd.shorten(series(f)[3]),
        "the gantry is tilted": lambda f: series(f, step=(0, 0.4 * Z, Z)),
        "a single image": lambda f: series(f, hu=HU[4:5]),
        "a single image without SliceThickness": lambda f: series(
            f, hu=HU[4:5], SliceThickness=None
        ),
        "RescaleType of an iodine map": having(RescaleType="MGML"),
        "RescaleType of modified HU": having(RescaleType="HU_MOD"),
        "a RescaleType that nobody knows": having(RescaleType="ABC"),
        "two of them in one series": having(3, RescaleType="HU_MOD"),
        "a table instead of a rescale slope": odd_dicom.with_table,
        "no rescaling at all": lambda f: series(
            f, RescaleSlope=None, RescaleIntercept=None, RescaleType=None
        ),
        "some images without RescaleIntercept": lacking("RescaleIntercept", 4),
        "other offsets in some images": having(3, RescaleIntercept=0),
        "a rescale slope of 2 that is none": having(RescaleSlope=2),
        "rescaling differs between images": having(3, RescaleIntercept=-1000),
        "what is called padding is soft tissue": odd_dicom.measured,
        "12 bits in the upper bits": odd_dicom.upper_bits,
        "bits set beyond BitsStored": odd_dicom.odd_bits,
        "called signed, and stored without a sign": odd_dicom.without_sign,
        "PhotometricInterpretation is lost": lacking("PhotometricInterpretation"),
        "PixelRepresentation is lost": lacking("PixelRepresentation"),
        "more pixels than Rows": having(Rows=40),
        "colour": having(PhotometricInterpretation="RGB"),
        "32 bits a pixel": having(BitsAllocated=32, BitsStored=32, HighBit=31),
        "several frames that nothing places": having(NumberOfFrames=2),
        "frames that are not all described": odd_dicom.undescribed,
        "floating-point pixels": lacking("PixelData"),
        "a transfer syntax that nobody knows": odd_dicom.of_no_syntax,
        "MR": odd_dicom.of_class(MRImageStorage, "MR"),
        "deflated": odd_dicom.deflated,
        "white is 0 (MONOCHROME1)": having(PhotometricInterpretation="MONOCHROME1"),
        "one of its files is no DICOM any more": lambda f: series(f)[-1].write_bytes(b"x" * 600),
        "a localizer beside it": beside(odd_dicom.localizer),
        "a projection (MIP) of it beside it": beside(odd_dicom.projection),
        "bolus tracking beside it": beside(odd_dicom.tracking),
        "a series in colour beside it": beside(odd_dicom.coloured),
        "an image of a series of its own beside it": beside(odd_dicom.other_image),
        "a secondary capture beside it": beside(odd_dicom.secondary),
        "previews beside it": beside(lambda f: slices(f, GREY[:2], "jpg")),
        "other files beside it": beside(lambda f: (f / "read.me").write_text("x")),
        "in a zip": in_zip(series),
        "in a zip that is cut off": odd_dicom.cut_zip,
        "in a zip that is encrypted": odd_dicom.encrypted,
    },
    "NIfTI": {
        "in a zip": in_zip(volume),
        "in a zip, with a label map": in_zip(odd.labels),
        "HU + 1024": lambda f: volume(f, offset_of(1024)),
        "HU + 1500": lambda f: volume(f, offset_of(1500)),
        "an intercept applied twice": lambda f: volume(f, offset_of(-1024)),
        "HU times 16": lambda f: volume(f, STORED.clip(-1024, 1000) * 16),
        "HU times 2": lambda f: volume(f, STORED * 2),
        "negative numbers without their sign": lambda f: volume(f, STORED.astype(np.uint16)),
        "all signs reversed": lambda f: volume(f, -STORED),
        "HU + 1024 in half of the slices": odd.with_half_offset,
        "HU + 24": lambda f: volume(f, offset_of(24)),
        "values below −600 cut off": lambda f: volume(f, STORED.clip(-600)),
        "grey values from 0 to 1": lambda f: volume(f, np.float32(STORED + 1350) / 4000),
        "values of a width that no CT has": lambda f: volume(f, STORED * 1000.0),
        "one value everywhere": lambda f: volume(f, STORED * 0 - 1000),
        "an empty slice": odd.with_slice(lambda voxels: -1024),
        "a slice twice": odd.with_slice(lambda voxels: voxels[..., 4]),
        "a label map, alone": lambda f: volume(f, odd.mask()),
        "a sheared grid": lambda f: volume(f, affine=odd.sheared()),
        "no orientation": lambda f: volume(f, sform_code=0, qform_code=0),
        "what programs write by default": lambda f: volume(f, affine=np.eye(4)),
        "sform and qform disagree about right and left": odd.with_qform(np.diag([-1, 1, 1, 1])),
        "sform and qform disagree about the place": odd.with_qform(np.diag([1, 1, 2, 1])),
        "pixdim and sform disagree": lambda f: volume(f, pixdim=[1] * 4 + [0] * 4),
        "an sform that places nothing, and no other": lambda f: volume(
            f, affine=AFFINE * [1, 0, 1, 1]
        ),
        "a qform that cannot be read": lambda f: volume(f, qform_code=1, quatern_b=2),
        "voxels of 150 mm": lambda f: volume(f, affine=AFFINE * [20, 20, 1, 1]),
        "no voxel sides": lambda f: volume(f, sform_code=0, qform_code=0, pixdim=[1, 0, 0, 0] * 2),
        "in metres": odd.in_metres,
        "in µm, which its voxels cannot be": lambda f: volume(f, xyzt_units=3),
        "NaN around what it shows": odd.lacking_values(odd.around()),
        "NaN within it": odd.lacking_values(STORED > 0),
        "infinite values": odd.lacking_values(odd.around(), -np.inf),
        "cut off": lambda f: odd.cut(volume(f)),
        "packed, and cut off": lambda f: odd.cut(volume(f, name="ct.nii.gz"), 0.9),
        "no NIfTI at all": lambda f: (f / "ct.nii").write_text("x" * 999),
        "complex numbers": lambda f: volume(f, STORED.astype(np.complex64)),
        "in two files (.hdr and .img)": odd.of_two_files,
        "gzip in name only": lambda f: volume(f).rename(f / "ct.nii.gz"),
        "several volumes in one file": odd.of_four_axes,
        "one slice without a third axis": lambda f: volume(f, STORED[..., 4]),
        "label maps beside it": odd.labels,
        "probabilities beside it": odd.probabilities,
        "a link to nothing beside it": lambda f: (volume(f), odd.link(f)),
        "results of an earlier call beside it": odd.results,
    },
    "slices": {
        "16 bits that hold HU + 1024": lambda f: slices(f, np.uint16(HU + 1024)),
        "16 bits of grey": lambda f: slices(f, np.uint16(GREY) * 257),
        "12 bits of grey in 16": lambda f: slices(f, np.uint16(GREY) * 16),
        "8 bits of grey in 16": lambda f: slices(f, np.uint16(GREY)),
        "masks among them": odd.masks_among,
        "masks alone": lambda f: slices(f, np.uint8(255) * (CHEST.lung > 0)),
        "slices of different sizes": lambda f: slices(f, [g[i:] for i, g in enumerate(GREY)]),
        "colour": lambda f: slices(f, np.stack([GREY, GREY // 2, 255 - GREY], -1)),
        "8 and 16 bits": lambda f: slices(f, [*GREY[:4], *(np.uint16(GREY[4:]) * 257)]),
        "several pages in one file": odd.of_pages,
        "transparent pixels": odd.transparent,
        "floating point": lambda f: slices(f, np.float32(HU), "tif"),
        "one bit": lambda f: slices(f, HU > -500),
        "two files of one name": odd.of_one_name,
        "in a zip": in_zip(slices),
    },
    "any": {
        "an empty folder": lambda f: None,
        "an archive of another kind": lambda f: (f / "scan.tar.gz").write_bytes(b"x"),
    },
}


class Nothing(Brightest):
    """Marks nothing, so that nothing is said of marks."""

    def labelled(self, slices, intensity, count, boxes=None):
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
    # The same flag of the plain scan, where nobody knows which end that is.
    text = re.sub(r"(?<=at the )last end$", "upper end", text)
    return " ".join(text.split()).replace("|", "/")


def rows():
    """Yields kind, circumstance, outcome, what is said."""
    plain = {kind: try_out(make)[1] for kind, make in PLAIN.items()}
    for kind, circumstances in CIRCUMSTANCES.items():
        for name, make in circumstances.items():
            status, said = try_out(make)
            said = [text for text in said if text not in plain[kind]]
            outcome = "read and noted" if said else "read"
            if len(status) > 1:
                outcome = f"read as {len(status)} scans"
            if "done" not in status:
                outcome = "refused"
            elif any(text.startswith("set aside") for text in said):
                outcome = "read, the rest set aside"
            yield kind, name, outcome, "; ".join(said)


def block():
    """Returns the table as the page has it."""
    lines = ["| | circumstance | what becomes of it | what is said |", "| --- | --- | --- | --- |"]
    lines += [f"| {' | '.join(cells)} |" for cells in rows()]
    return "\n".join(lines) + "\n"


def main():
    cohort.Segmenter, lung_network.shipped = Nothing, lambda: None
    lung_network.find_each = no_lung
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(before + BEGIN + block() + END + rest.partition(END)[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
