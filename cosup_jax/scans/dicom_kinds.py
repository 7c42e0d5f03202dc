"""What objects of CT classes are no slices of a body, although they are stored as such."""

import re

LOCALIZER = "localizer"
PROJECTION = "projection or rendering of a volume (such as MIP)"
COLOUR = "colour picture"

# In ImageType makers name what each pixel shows, with names of their own before it ("CT_SOM5 MIP");
# enhanced CT has an attribute for it. A mean of slices (AVERAGE) and a plane (MPR) hold HU.
_PROJECTION = re.compile(
    r"(?<![A-Z])(MIPS?|MINIPS?|MAX_IP|MIN_IP|PROJECTION|VRT|SSD|VOLUME_RENDER|SURFACE_RENDER)(?![A-Z])"
)
_EXTREMES = {"MAXIMUM", "MINIMUM"}  # of several images, in the fourth value


def not_a_slice(image_type: str, technique: str, samples: str) -> str:
    r"""Returns what an image is instead of a slice of a body, or nothing where it is one.

    The brightest or darkest of several slices makes vessels as wide as lesions, and lung of what is
    none: nothing that is measured there is true of the patient.

    Args:
      image_type: ImageType, or FrameType of a frame; values have backslashes between them.
      technique: VolumeBasedCalculationTechnique.
      samples: SamplesPerPixel.

    >>> not_a_slice(r"DERIVED\SECONDARY\AXIAL\CT_SOM5 MIP", "", "1")
    'projection or rendering of a volume (such as MIP)'
    >>> not_a_slice(r"DERIVED\SECONDARY\REFORMATTED\AVERAGE", "MPR", "1")
    ''
    """
    if "LOCALIZER" in image_type.upper():
        return LOCALIZER
    values = f"{image_type}\\{technique}"
    if is_projection(values) or _EXTREMES.intersection(values.upper().split("\\")):
        return PROJECTION
    return COLOUR if samples not in ("", "0", "1") else ""


def is_projection(text: str) -> bool:
    """Whether a text of a header has a word for projections or renderings in it."""
    return bool(_PROJECTION.search(text.upper()))
