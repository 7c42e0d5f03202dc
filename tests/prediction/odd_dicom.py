"""DICOM series in odd circumstances, each written into an empty folder; see `circumstances`."""

import shutil

import numpy as np
import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian as DEFLATED
from pydicom.uid import RLELossless, SecondaryCaptureImageStorage, generate_uid

from tests.prediction.odd_scans import CHEST, HU, cut, in_zip, series
from tests.scans.dicom_series import make_images, save
from tests.scans.enhanced import make_enhanced

UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")


def copied(paths):
    shutil.copy(paths[0], paths[0].with_name("copy of it"))


def secondary(folder):
    image = make_images(HU[:1], CHEST.spacing)[0]
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    save(folder, [image], ["capture"])


def localizer(folder):
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(folder, make_images(HU[:1], CHEST.spacing, ImageType=kind), ["scout"])


def projection(folder):
    kind = ["DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MIP"]
    save(folder / "mip", make_images(HU, CHEST.spacing, ImageType=kind))


def tracking(folder):
    images = make_images(HU[3:4] + np.arange(8)[:, None, None], step=(0, 0, 0))
    save(folder, images, [f"bolus{i}" for i in range(8)])


def coloured(folder):
    fields = {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}
    save(folder / "colour", make_images(HU, CHEST.spacing, **fields))


def other_image(folder):
    save(folder, make_images(HU[:1], CHEST.spacing, series=9), ["other"])


def having(only=None, **fields):
    """A series with fields set in all images, or in one of them."""

    def change(image, i):
        for name, value in fields.items():
            if only in (None, i):
                setattr(image, name, value)

    return lambda folder: series(folder, change)


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


def enhanced(folder):
    folder.mkdir(exist_ok=True)
    make_enhanced(make_images(HU, CHEST.spacing)).save_as(folder / "one", enforce_file_format=True)


def numbered(folder, change, **fields):
    """A series whose stored numbers, of 16 bits without a sign, are changed."""

    def changed(image, i):
        numbers = np.frombuffer(image.PixelData, "<u2").astype(int)
        image.PixelData = change(numbers).astype("<u2").tobytes()

    return series(folder, changed, **fields)


def each_its_own(name):
    """A series in which the identifier differs from image to image."""
    return lambda folder: series(folder, lambda image, i: setattr(image, name, generate_uid()))


def lacking(name, every=1):
    """A series in which every so many images lack an attribute."""

    def change(image, i):
        if i % every == 0:
            delattr(image, name)

    return lambda folder: series(folder, change)


def one_more(**fields):
    """A series, and one more image of it."""

    def made(folder):
        images = make_images(HU, CHEST.spacing)
        (more,) = make_images(HU[:1], CHEST.spacing, InstanceNumber=99, **fields)
        for name in UIDS[1:]:
            setattr(more, name, getattr(images[0], name))
        save(folder, [*images, more])

    return made


def two(**fields):
    """Two stacks at one place; images of the second have other fields."""

    def made(folder):
        first, second = make_images(HU, CHEST.spacing), make_images(HU[::-1], CHEST.spacing)
        for one, other in zip(first, second, strict=True):
            for name in UIDS[1:]:
                setattr(other, name, getattr(one, name))
            for name, value in fields.items():
                setattr(other, name, value)
        save(folder / "a", first)
        save(folder / "b", second)

    return made


def of_class(uid, modality):
    def change(image, i):
        image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = uid
        image.Modality = modality

    return lambda folder: series(folder, change)


def measured(folder):
    """Called padding is a value that is as common as those next to it."""
    numbered(folder, lambda numbers: numbers, PixelPaddingValue=1064, PixelRepresentation=0)


def upper_bits(folder):
    fields = {"BitsStored": 12, "PixelRepresentation": 0}
    numbered(folder, lambda numbers: numbers << 4, **fields)


def without_sign(folder):
    hu = HU.copy()
    hu[:, 20:26, 20:26] = np.arange(1500, 1536).reshape(6, 6)
    series(folder, hu=hu, BitsStored=12, HighBit=11, PixelRepresentation=1)


def odd_bits(folder):
    fields = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0}
    numbered(folder, lambda numbers: numbers | 0x2000 * (np.arange(numbers.size) % 2), **fields)


def with_table(folder):
    table = pydicom.Dataset()
    table.LUTDescriptor, table.LUTData = [2, 0, 16], b"\0\0\0\0"
    series(folder, lambda image, i: setattr(image, "ModalityLUTSequence", [table]))


def of_no_syntax(folder):
    for path in series(folder):
        content = path.read_bytes()
        path.write_bytes(content.replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.99999.1.2.1\0"))


def beheaded(folder):
    for path in series(folder):
        path.write_bytes(path.read_bytes()[132:])


def undescribed(folder):
    made = make_enhanced(make_images(HU, CHEST.spacing), NumberOfFrames=8)
    folder.mkdir(exist_ok=True)
    made.save_as(folder / "one", enforce_file_format=True)


def encrypted(folder):
    in_zip(series)(folder)
    content = bytearray((folder / "scan.zip").read_bytes())
    content[content.find(b"PK\1\2") + 8] |= 1
    (folder / "scan.zip").write_bytes(content)
