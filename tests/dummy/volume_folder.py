"""Small volumes of one's own, in each of the layouts that are read."""

import hashlib
import json
from pathlib import Path

import nibabel as nib
import numpy as np

from cosup_jax.scans import dicom, dicom_seg
from cosup_jax.scans.source import Source
from tests.dummy import volumes
from tests.scans import dicom_series

LABELLED = ("ann", "bob", "cyd", "dan", "eve")
BARE = "fay"
CASES = (*LABELLED, BARE)


def drawn(case):
    """The phantom of a case."""
    return volumes.draw(CASES.index(case))


def mask_of(case):
    """(Z, H, W) uint8, 0 and 1."""
    return (drawn(case).mask > 0).astype(np.uint8)


def write(folder: Path) -> None:
    """Writes `images/`, `masks/` and `lungs/`, one volume of which has neither."""
    for case in CASES:
        volumes.save(folder / "images" / f"{case}.nii.gz", drawn(case).image, "LAS")
    for case in LABELLED:
        volumes.save(folder / "masks" / f"{case}.nii.gz", mask_of(case), "LAS")
        volumes.save(folder / "lungs" / f"{case}.nii.gz", drawn(case).lung, "RAS")


def write_nnunet(folder: Path, labels=None, **fields) -> None:
    """Writes nnU-Net's raw layout; `fields` of `dataset.json` are set last, None drops one."""
    for case in LABELLED:
        volumes.save(folder / "imagesTr" / f"{case}_0000.nii.gz", drawn(case).image)
        volumes.save(folder / "labelsTr" / f"{case}.nii.gz", drawn(case).mask)
    volumes.save(folder / "imagesTs" / f"{BARE}_0000.nii.gz", drawn(BARE).image)
    about = {
        "channel_names": {"0": "CT"},
        "labels": labels or {"background": 0, "GGO": 1, "consolidation": 2, "effusion": 3},
        "numTraining": len(LABELLED),
        "file_ending": ".nii.gz",
        **fields,
    }
    write_json(folder / "dataset.json", {k: v for k, v in about.items() if v is not None})


def write_json(path: Path, content) -> None:
    path.write_text(json.dumps(content))


def write_decathlon(folder: Path, **fields) -> None:
    """Writes the layout of the Medical Segmentation Decathlon."""
    for case in LABELLED:
        volumes.save(folder / "imagesTr" / f"{case}.nii.gz", drawn(case).image)
        volumes.save(folder / "labelsTr" / f"{case}.nii.gz", mask_of(case))
        (folder / "imagesTr" / f"._{case}.nii.gz").write_bytes(b"a Mac's")
    volumes.save(folder / "imagesTs" / f"{BARE}.nii.gz", drawn(BARE).image)
    paths = [{k: f"./{k}sTr/{c}.nii.gz" for k in ("image", "label")} for c in LABELLED]
    about = {
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "cancer"},
        "numTraining": len(LABELLED),
        "training": paths,
        "test": [f"./imagesTs/{BARE}.nii.gz"],
    }
    write_json(folder / "dataset.json", about | fields)


def write_table(folder: Path) -> Path:
    """Writes a table of a NIfTI volume and two DICOM series, of which one has a Segmentation."""
    volumes.save(folder / "a/ct.nii", drawn("ann").image)
    volumes.save(folder / "a/seg.nii", mask_of("ann") * np.uint8(255))
    for case in ("bob", BARE):
        dicom_series.save(folder / case, dicom_series.make_images(drawn(case).image))
    write_segmentation(folder / "bob.dcm", folder / "bob", mask_of("bob"))
    rows = [
        "image,mask,lung,case,patient,split",
        "a/ct.nii,a/seg.nii,,one,p1,train",
        "bob,bob.dcm,,,p2,val",
        f"{BARE},,,,p3,",
    ]
    (folder / "volumes.csv").write_text("\n".join(rows) + "\n")
    return folder / "volumes.csv"


def write_results(root: Path, scans: Path, *, named=True, digests=True, cases=LABELLED) -> None:
    """Writes what `predict` leaves of scans: their masks, and a failed one."""
    for case in cases:
        scan = volumes.save(scans / f"{case}.nii.gz", drawn(case).image)
        mask = volumes.save(root / case / "mask.nii.gz", mask_of(case))
        made_of = {
            "input": Source(scan, "nifti", (scan,)).digest(),
            "weights": "5" * 64,
            "settings": {"hu_offset": None, "threshold": 0.4},
            "version": "0.1.0",
        }
        row = {"status": "done", "scan": case, "weights": "brightest 555555555555"}
        record = {"made_of": made_of, "row": row | {"input": str(scan) if named else ""}}
        if digests:
            record["sizes"] = {"mask.nii.gz": mask.stat().st_size}
            record["digests"] = {"mask.nii.gz": hashlib.sha256(mask.read_bytes()).hexdigest()}
        write_json(root / case / "findings.json", record)
    (root / "bad").mkdir()
    failed = {"made_of": {}, "row": {"status": "failed", "reason": "truncated"}}
    write_json(root / "bad/findings.json", failed)


def correct(root: Path, case: str) -> None:
    """Draws the mask of a case anew: each row in front of what is marked is marked too."""
    mask = mask_of(case)
    mask[:, :-1] |= mask[:, 1:]
    volumes.save(root / case / "mask.nii.gz", mask)


def write_segmentation(path: Path, series: Path, axial: np.ndarray, result: str = "mask") -> None:
    """Writes a Segmentation of axial labels on a DICOM series."""
    found = dicom.read_series(sorted(series.iterdir()))
    frames = found.grid.from_axial(axial).transpose(2, 1, 0)
    dicom_seg.write(path, np.ascontiguousarray(frames), found, result)


def regrid(source: Path, target: Path, affine=None, pick=...) -> None:
    """Writes part of a NIfTI volume's voxels with another affine."""
    image = nib.load(source)
    affine = image.affine if affine is None else affine
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[pick], affine), target)
