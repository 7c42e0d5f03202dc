"""Enhanced CT, written for the tests: a series as one file."""

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedCTImageStorage, generate_uid

# What a file of one slice has at its root, and an enhanced one in its functional groups.
_PER_FRAME = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}


def make_enhanced(images, *, shared=("PlaneOrientationSequence",), content=None, **fields):
    """Returns one enhanced object of the images of `make_images`, in their order.

    Args:
      images: data sets of one slice each.
      shared: functional groups that are given once, of the first image.
      content: for each frame, attributes of its FrameContentSequence.
      **fields: attributes set last.
    """
    first = images[0]
    made = Dataset()
    made.update({e.tag: e for e in first if e.keyword not in sum(_PER_FRAME.values(), ())})
    made.file_meta = FileMetaDataset()
    made.file_meta.update(first.file_meta)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.SharedFunctionalGroupsSequence = Sequence([Dataset()])
    made.PerFrameFunctionalGroupsSequence = Sequence()
    for name in shared:
        setattr(made.SharedFunctionalGroupsSequence[0], name, [macro(name, first)])
    for i, image in enumerate(images):
        frame = Dataset()
        for name in _PER_FRAME.keys() - {*shared}:
            setattr(frame, name, [macro(name, image)])
        frame.FrameContentSequence = [Dataset()]
        for name, value in (content[i] if content else {}).items():
            setattr(frame.FrameContentSequence[0], name, value)
        made.PerFrameFunctionalGroupsSequence.append(frame)
    made.NumberOfFrames = len(images)
    made.PixelData = b"".join(image.PixelData for image in images)
    made["PixelData"].VR = "OW"
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def macro(name, image):
    """Returns the item of a functional group."""
    item = Dataset()
    for attribute in _PER_FRAME[name]:
        setattr(item, attribute, image.get(attribute))
    return item


def shuffled(images, seed=0):
    """Returns images in another order."""
    return [images[i] for i in np.random.default_rng(seed).permutation(len(images))]
