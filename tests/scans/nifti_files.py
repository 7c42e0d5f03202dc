"""NIfTI files written byte by byte, so that their headers may say anything."""

import gzip
from itertools import permutations, product

import nibabel as nib
import numpy as np
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

DIRECTIONS = {
    "R": (1, 0, 0),
    "L": (-1, 0, 0),
    "A": (0, 1, 0),
    "P": (0, -1, 0),
    "S": (0, 0, 1),
    "I": (0, 0, -1),
}
ORIENTATIONS = [
    "".join(ends) for axes in permutations(("RL", "AP", "SI")) for ends in product(*axes)
]


def affine_of(orientation, spacing=(1, 1, 1), angles=(0, 0, 0), origin=(0, 0, 0)):
    """The affine of a grid stored in an orientation, then turned by `angles` (degrees)."""
    affine = np.eye(4)
    columns = np.array([DIRECTIONS[letter] for letter in orientation]).T
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ columns
    affine[:3, :3] *= spacing
    affine[:3, 3] = origin
    return affine


def oblique_affines(orientation):
    """Affines whose axes are turned away from the body's, but not so far that others are nearer."""

    def three(low, high):
        return st.tuples(*[st.floats(low, high, width=32)] * 3)

    return st.builds(
        affine_of, st.just(orientation), three(0.25, 8), three(-15, 15), three(-300, 300)
    )


AFFINE = affine_of("LPS", (0.75, 0.75, 5))


def forge(path, voxels, affine=AFFINE, *, kind=nib.Nifti1Header, order="<", rest=b"", **fields):
    """Writes a file with a header of `kind`, in which `fields` are set last and unchecked."""
    header = kind(endianness=order)
    header.set_data_shape(voxels.shape)
    header.set_data_dtype(voxels.dtype)
    header.set_sform(affine, code=1)
    header["pixdim"][1:4] = np.linalg.norm(np.asarray(affine)[:3, :3], axis=0)
    header["vox_offset"] = header.single_vox_offset
    header["magic"] = header.single_magic
    for field, value in fields.items():
        header[field] = value
    raw = voxels.astype(voxels.dtype.newbyteorder(order)).tobytes("F")
    content = header.binaryblock + bytes(4) + raw + rest
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def ct(shape=(6, 5, 4)):
    """An int16 volume that has air in it."""
    return np.random.default_rng(0).integers(-1000, 1000, shape, dtype=np.int16)
