"""Rows of tables: what a row is, and those that several tables have."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      name: what it is called on the command line and in the folder of its runs. Rows of different
        tables with the same name are the same experiment, and share their runs.
      label: what it is called in the table, before its class of infection.
      config: file of configs/ with its argument, such as `ablation.py:row=esm`.
      published: its name among the published rows; empty where the paper has no such row.
      note: what a reader must know.
      runs_of: the row whose runs it scores in its own way, where these are not its own.
      tta: whether predictions are averaged over flips.
      infection: the class scored, `ground-glass` or `consolidation`; empty for all together.
      guide: the row whose run of the same seed guides this one; it is trained first where it is
        missing, and otherwise taken as it is.
      base: the row it is a variant of, with which it is compared beside the reference.
    """

    name: str
    label: str
    config: str
    published: str = ""
    note: str = ""
    runs_of: str = ""
    tta: bool = False
    infection: str = ""
    guide: "Row | None" = None
    base: str = ""

    @property
    def run(self) -> str:
        """The name of its runs."""
        return self.runs_of or self.name

    @property
    def method(self) -> str:
        """The label, and of which class of infection."""
        return f"{self.label}, {self.infection}" if self.infection else self.label


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of one of the papers, or one of this package's own.

    Attributes:
      title: what it shows.
      paper: `cosup` or `infnet`, whose values stand beside ours.
      number: the paper's number of the table with these values.
      protocol: how it is evaluated, `cosup` or `semiseg`.
      measures: its columns.
      data: the dataset of the paper.
      rows: its rows.
      reference: the row with which all others are compared, each class of infection for itself;
        empty where none are.
      unclaimed: why the paper's other rows are not run here.
      other_training: whether the paper leaves open what was trained on.
      note: what a reader must know.
    """

    title: str
    paper: str
    number: str
    protocol: str
    measures: tuple[str, ...]
    data: str
    rows: tuple[Row, ...]
    reference: str
    unclaimed: str = "not run here"
    other_training: bool = False
    note: str = ""


def _baseline(net: str, label: str, published: str = "", note: str = "") -> Row:
    return Row(net, label, f"baseline.py:net={net}", published or label, note)


UNET = _baseline("unet", "U-Net")
UNETPP = _baseline("unetpp", "U-Net++", "UNet++")
INFNET = Row("infnet", "Inf-Net", "infnet.py:row=ppd+ra+ea", "Inf-Net")
COMPARATORS = (
    UNET,
    UNETPP,
    _baseline("attention_unet", "Attention U-Net"),
    _baseline("pspnet", "PSPNet"),
    _baseline(
        "deeplabv3plus",
        "DeepLabV3+",
        "Deeplabv3",
        "the paper says Deeplabv3, and cites and describes DeepLabV3+",
    ),
    INFNET,
    _baseline("scrn", "SCRN"),
    _baseline("f3net", "F3Net"),
    _baseline("danet", "DANet"),
    _baseline("acfnet", "ACFNet", note="with the class centres of its paper"),
    _baseline("cenet", "CE-Net"),
    _baseline("cpfnet", "CPFNet"),
)
C2F = Row("c2f", "ResUNet_C2F", "c2f.py", "ResUNet_C2F")
_GUIDED = "Semi-Inf-Net+FCN8s"  # its published name
BASELINE = Row("baseline", "ResUNet (baseline)", "ablation.py:row=baseline", "baseline")


def ablation(subset: str, published: str = "", note: str = "") -> Row:
    """Returns the row of ResUNet with some modules, such as `esm+afm`; * is on the decoder."""
    label = " + ".join(module.upper() for module in subset.split("+"))
    return Row(subset, label, f"ablation.py:row={subset}", published, note)


def unnamed(*subsets: str) -> list[Row]:
    """Returns rows of ablations that are not in the paper, or not identified there."""
    return [ablation(s, note="not in the paper's table, or not identified in it") for s in subsets]


def of_classes(infection: str) -> list[Row]:
    """Returns the rows of a class of infection; all classes are of the same runs."""
    ending = "" if infection == "ground-glass" else f"-{infection}"

    def row(name: str, label: str, net: str, method: str = "", base: str = "", **others) -> Row:
        published = f"{method}, {infection}" if method else ""
        others |= {"runs_of": ending and name, "base": base and base + ending}
        config = f"multiclass.py:net={net}"
        return Row(name + ending, label, config, published, infection=infection, **others)

    unet, guide, note = "U-Net of the release", INFNET, "the paper's guide is Semi-Inf-Net"
    return [
        *(
            row(
                f"deeplab{n}", f"DeepLabV3+ (stride {n})", f"deeplab{n}", f"DeepLabV3+ (stride {n})"
            )
            for n in (8, 16)
        ),
        row("fcn8s", "FCN8s", "fcn8s,guide=none", "FCN8s"),
        row("guided_fcn8s", "Inf-Net + FCN8s", "fcn8s", _GUIDED, guide=guide, note=note),
        row("multiclass_unet", unet, "unet,guide=none"),
        row("guided_unet", f"Inf-Net + {unet}", "unet", base="multiclass_unet", guide=guide),
        row("multiclass_c2f", "ResUNet_C2F with classes", "cosup"),
    ]
