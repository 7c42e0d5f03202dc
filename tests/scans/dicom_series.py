"""DICOM series of CT slices, written for the tests."""

import zipfile

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

PATIENT = "Doeringer^Janette"
SECRETS = ("Doeringer", "Janette", "MRN-4711", "19700101", "20200315")


def make_images(
    hu,
    spacing=(5.0, 0.75, 0.5),
    *,
    directions=((1, 0, 0), (0, 1, 0)),
    step=None,
    origin=(-100.0, -120.0, -300.0),
    slope=1.0,
    intercept=-1024.0,
    series=3,
    syntax=ExplicitVRLittleEndian,
    **fields,
):
    """Returns the data sets of a series, from the first slice to the last.

    Args:
      hu: (Z, H, W) whole numbers that slope and intercept can store as int16.
      spacing: (z, y, x) in mm.
      directions: in which columns and rows run, in the LPS frame.
      step: from a slice to the next in mm, in the LPS frame; along the normal where None.
      origin: centre of the first voxel in mm.
      slope: RescaleSlope.
      intercept: RescaleIntercept.
      series: SeriesNumber.
      syntax: transfer syntax, one without compression.
      **fields: attributes set last, on every image.
    """
    z, y, x = spacing
    across, down = np.array(directions, float)
    step = np.cross(across, down) * z if step is None else np.array(step, float)
    study, series_uid, frame = generate_uid(), generate_uid(), generate_uid()
    images = []
    for i, pixels in enumerate(hu):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.MediaStorageSOPClassUID = CTImageStorage
        image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.file_meta.TransferSyntaxUID = syntax
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID
        image.PatientName, image.PatientID = PATIENT, "MRN-4711"
        image.PatientBirthDate, image.PatientSex = "19700101", "F"
        image.StudyDate = image.SeriesDate = image.ContentDate = "20200315"
        image.StudyTime = image.ContentTime = "101500"
        image.AccessionNumber = image.StudyID = image.ReferringPhysicianName = ""
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series_uid
        image.FrameOfReferenceUID, image.PositionReferenceIndicator = frame, ""
        image.Modality, image.Manufacturer = "CT", "phantom"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.SeriesNumber, image.InstanceNumber = series, i + 1
        image.ImageOrientationPatient = [*across, *down]
        image.ImagePositionPatient = [*(np.array(origin) + i * step)]
        image.PixelSpacing, image.SliceThickness = [y, x], z
        image.Rows, image.Columns = pixels.shape
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
        image.PixelRepresentation = 1
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = slope, intercept, "HU"
        stored = np.rint((pixels.astype(float) - intercept) / slope).astype(np.int16)
        order = "<" if syntax.is_little_endian else ">"
        image.PixelData = stored.astype(f"{order}i2").tobytes()
        image["PixelData"].VR = "OW"
        for name, value in fields.items():
            setattr(image, name, value)
        images.append(image)
    return images


def save(folder, images, names=None):
    """Writes images into a folder under names out of order, and returns the paths."""
    folder.mkdir(exist_ok=True, parents=True)
    names = names or [f"IM{7919 * (i + 1) % 10007:05d}" for i in range(len(images))]
    paths = []
    for name, image in zip(names, images, strict=True):
        image.save_as(folder / name, enforce_file_format=True)
        paths.append(folder / name)
    return paths


def zipped(path, **members):
    """Writes a zip of members by name, and returns its path."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path
