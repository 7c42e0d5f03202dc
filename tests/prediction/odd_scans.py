"""Scans in odd circumstances, each written into an empty folder; see `circumstances`."""

import zipfile

import nibabel as nib
import numpy as np
from PIL import Image

from cosup_jax import phantom
from cosup_jax.prediction import cohort
from cosup_jax.prediction.settings import Settings
from cosup_jax.scans import find
from tests.prediction.scan_files import NETWORK
from tests.scans.dicom_series import make_images, save
from tests.scans.nifti_files import affine_of, forge

CHEST = phantom.draw_volume(5, size=48, slices=9)
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


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def shorten(path, count=2000):
    path.write_bytes(path.read_bytes()[:-count])


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


def with_half_offset(folder):
    voxels = STORED.copy()
    voxels[..., 4:] += 1024
    volume(folder, voxels)


def labels(folder):
    volume(folder)
    volume(folder, mask(), name="lung_mask.nii")


def results(folder):
    volume(folder)
    sources, _ = find.find_scans([folder], folder)
    cohort.process(sources, folder, NETWORK, Settings())


def offset_of(number):
    return STORED.astype(np.int32) + number


def of_four_axes(folder):
    nib.save(nib.Nifti1Image(np.stack([STORED, STORED], -1), AFFINE), folder / "ct.nii")


def lacking_values(where, value=np.nan):
    """A NIfTI volume of fractions that has no number `where`, (x, y, z) bool."""
    return lambda folder: volume(folder, np.where(where, value, np.float32(STORED)))


def around():
    """(x, y, z) bool: what lies outside of a circle in each slice, as resampling leaves it."""
    x, y, _ = np.indices(STORED.shape)
    return (x - 23.5) ** 2 + (y - 23.5) ** 2 > 23.5**2


def in_metres(folder):
    scale = np.array([[1e-3], [1e-3], [1e-3], [1]])
    volume(folder, affine=AFFINE * scale, xyzt_units=1)


def with_slice(change):
    """A NIfTI volume of which one slice is changed, and the slices around it are at hand."""

    def made(folder):
        voxels = STORED.copy()
        voxels[..., 5] = change(voxels)
        volume(folder, voxels)

    return made


def with_qform(change):
    """A NIfTI file whose qform is that of another affine."""

    def made(folder):
        image = nib.Nifti1Image(STORED, AFFINE)
        image.set_sform(AFFINE, 1)
        image.set_qform(AFFINE @ change, 1)
        nib.save(image, folder / "ct.nii")

    return made


def probabilities(folder):
    volume(folder)
    volume(folder, np.float32(STORED + 1100) / 4000, name="probability.nii")


def of_two_files(folder):
    nib.save(nib.Nifti1Pair(STORED, AFFINE), folder / "ct.hdr")


def link(folder):
    (folder / "gone.nii").symlink_to(folder / "nowhere")


def mask():
    return np.ascontiguousarray((CHEST.lung > 0).transpose(2, 1, 0), np.uint8)


def masks_among(folder):
    slices(folder)
    for i, lung in enumerate(CHEST.lung > 0):
        Image.fromarray(np.uint8(255) * lung).save(folder / f"s{i:02}_mask.png")


def of_pages(folder):
    first, *others = map(Image.fromarray, GREY)
    first.save(folder / "s.tif", save_all=True, append_images=others)


def transparent(folder):
    slices(folder, [np.stack([grey, 255 - grey], -1) for grey in GREY])


def of_one_name(folder):
    slices(folder)
    slices(folder, GREY[:1], "tif")
