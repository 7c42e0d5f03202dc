"""Generated chest CT volumes with and without COVID-19 lesions; needs no download."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from cosup_jax import phantom
from cosup_jax.data import schema
from cosup_jax.data.builder import Case, CtSliceBuilder

# Every so many patients of a split have nothing, beginning with the first.
HEALTHY_EVERY = 8


@dataclasses.dataclass(eq=False)
class LungPhantomConfig(tfds.core.BuilderConfig):
    """How many patients to draw, and how finely.

    Attributes:
      patients: patients of each split.
      size: height and width in pixels.
      slices: slices of each patient.
    """

    patients: Mapping[str, int] = dataclasses.field(
        default_factory=lambda: {"train": 24, "validation": 6, "test": 8}
    )
    size: int = 256
    slices: int = 16


@dataclasses.dataclass(frozen=True)
class _Drawing:
    """What `phantom.draw_volume` needs."""

    seed: int
    infected: bool


class Builder(CtSliceBuilder):
    """Draws whole patients for each split; the patient's number is the seed."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Initial release."}
    BUILDER_CONFIGS: ClassVar = [
        LungPhantomConfig(
            name="default", version=VERSION, description="38 patients, 256×256, 16 slices each"
        ),
        LungPhantomConfig(
            name="tiny",
            version=VERSION,
            description="7 patients, 64×64, 4 slices each; for tests",
            patients={"train": 3, "validation": 2, "test": 2},
            size=64,
            slices=4,
        ),
    ]

    def cases(self, dl_manager: tfds.download.DownloadManager) -> Mapping[str, Sequence[Case]]:
        """Numbers the patients through all splits; the first of each split is healthy."""
        cases: dict[str, list[Case]] = {}
        seed = 0
        for split, count in self.builder_config.patients.items():
            cases[split] = []
            for i in range(count):
                name = f"phantom_{seed:04d}"
                drawing = _Drawing(seed, infected=i % HEALTHY_EVERY != 0)
                cases[split].append(Case(case_id=name, patient_id=name, source=drawing))
                seed += 1
        return cases

    def read_case(self, case: Case) -> Iterator[dict[str, Any]]:
        """Draws a patient and yields the slices from the diaphragm to the apex."""
        config = self.builder_config
        volume = phantom.draw_volume(
            case.source.seed,
            size=config.size,
            slices=config.slices,
            infected=case.source.infected,
        )
        for i, (image, mask, lung) in enumerate(
            zip(volume.image, volume.mask, volume.lung, strict=True)
        ):
            yield schema.make_example(
                image,
                intensity="hu",
                case_id=case.case_id,
                patient_id=case.patient_id,
                slice_index=i,
                mask=mask,
                lung=lung,
                spacing=volume.spacing,
            )
