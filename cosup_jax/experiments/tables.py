"""The tables as data: of each row its name, its configuration, and its name in the paper."""

import dataclasses

_SIX = ("dice", "sensitivity", "precision", "mae", "e_phi_mean", "s_alpha")
_THREE = ("dice", "sensitivity", "mae")
_SEMISEG = ("dice", "sensitivity", "specificity", "s_alpha", "e_phi_mean", "mae")
NO_NETWORK = "not available here: the package has no such network"


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
    unclaimed: str = NO_NETWORK
    other_training: bool = False
    note: str = ""


_UNET = Row("unet", "U-Net", "baseline.py:net=unet", "U-Net")
_UNETPP = Row("unetpp", "U-Net++", "baseline.py:net=unetpp", "UNet++")
_INFNET = Row("infnet", "Inf-Net", "infnet.py:row=ppd+ra+ea", "Inf-Net")
_COMPARATORS = (
    _UNET,
    _UNETPP,
    Row("attention_unet", "Attention U-Net", "baseline.py:net=attention_unet", "Attention U-Net"),
    _INFNET,
)
_C2F = Row("c2f", "ResUNet_C2F", "c2f.py", "ResUNet_C2F")
_GUIDED = "Semi-Inf-Net+FCN8s"  # its published name
_BASELINE = Row("baseline", "ResUNet (baseline)", "ablation.py:row=baseline", "baseline")


def _ablation(subset: str, published: str = "", note: str = "") -> Row:
    label = " + ".join(module.upper() for module in subset.split("+"))
    return Row(subset, label, f"ablation.py:row={subset}", published, note)


def _unnamed(*subsets: str) -> list[Row]:
    return [_ablation(s, note="not in the paper's table, or not identified in it") for s in subsets]


def _of_classes(infection: str) -> list[Row]:
    """The rows of a class of infection; all classes are of the same runs."""
    ending = "" if infection == "ground-glass" else f"-{infection}"

    def row(name: str, label: str, net: str, method: str = "", base: str = "", **others) -> Row:
        published = f"{method}, {infection}" if method else ""
        others |= {"runs_of": ending and name, "base": base and base + ending}
        config = f"multiclass.py:net={net}"
        return Row(name + ending, label, config, published, infection=infection, **others)

    unet, guide, note = "U-Net of the release", _INFNET, "the paper's guide is Semi-Inf-Net"
    return [
        row("fcn8s", "FCN8s", "fcn8s,guide=none", "FCN8s"),
        row("guided_fcn8s", "Inf-Net + FCN8s", "fcn8s", _GUIDED, guide=guide, note=note),
        row("multiclass_unet", unet, "unet,guide=none"),
        row("guided_unet", f"Inf-Net + {unet}", "unet", base="multiclass_unet", guide=guide),
        row("multiclass_c2f", "ResUNet_C2F with classes", "cosup"),
    ]


def _other_dataset(number: str, name: str, data: str) -> Table:
    return Table(
        title=f"networks on {name}",
        paper="cosup",
        number=number,
        protocol="cosup",
        measures=_THREE,
        data=data,
        rows=(*_COMPARATORS, _C2F),
        reference="unet",
        other_training=True,
        note="The paper does not say whether these networks were trained on this dataset or on its "
        "own.",
    )


TABLES: dict[str, Table] = {
    "table2": Table(
        title="networks",
        paper="cosup",
        number="2",
        protocol="cosup",
        measures=_SIX,
        data="cosup_covid",
        rows=(*_COMPARATORS, _C2F),
        reference="unet",
    ),
    "table3": Table(
        title="how many stages are supervised by edges",
        paper="cosup",
        number="3",
        protocol="cosup",
        measures=_SIX,
        data="cosup_covid",
        rows=(
            dataclasses.replace(_BASELINE, published="", note="not in the paper's table"),
            *(Row(f"c{i}f", f"ResUNet_C{i}F", f"c{i}f.py", f"ResUNet_C{i}F") for i in range(1, 6)),
        ),
        reference="baseline",
    ),
    "table4": Table(
        title="ablations",
        paper="cosup",
        number="4",
        protocol="cosup",
        measures=_SIX,
        data="cosup_covid",
        rows=(
            _BASELINE,
            _ablation("esm", "esm"),
            _ablation("assm", "assm"),
            _ablation("afm", "afm"),
            *_unnamed("esm+assm", "esm+afm", "assm+afm"),
            dataclasses.replace(_C2F, label="ESM + ASSM + AFM", published="esm+assm+afm"),
            *_unnamed("esm*", "assm*", "esm*+assm*", "esm*+afm", "assm*+afm", "esm*+assm*+afm"),
            _ablation("esm+esm*+afm", "esm+esm*+afm (from the prose)"),
            *_unnamed("esm+assm*+afm", "assm+esm*+afm", "assm+assm*+afm"),
            *_unnamed("esm+assm+esm*+assm*+afm"),
        ),
        reference="baseline",
        unclaimed="published row not identified: its check marks are lost in the text at hand",
        note="* is supervision on the decoder. Which modules a published value belongs to is known "
        "from the paper's prose for six rows only.",
    ),
    "table5": Table(
        title="fusion methods, alone",
        paper="cosup",
        number="5",
        protocol="cosup",
        measures=_SIX,
        data="cosup_covid",
        rows=(
            Row("sum", "Add", "fusion.py:fusion=sum", "Add"),
            Row("concat", "Concatenate", "fusion.py:fusion=concat", "Concatenate"),
            # The same experiment as AFM alone of Table 4, in the paper and here.
            Row("afm", "Attention", "ablation.py:row=afm", "Attention"),
        ),
        reference="sum",
    ),
    "table6": _other_dataset("6", "MosMedData", "mosmed_covid19"),
    "table7": _other_dataset("7", "UESTC-COVID-19", "uestc_covid19"),
    "table8": _other_dataset("8", "COVID-ChestCT", "covid_chestct"),
    "infnet-table2": Table(
        title="infection regions",
        paper="infnet",
        number="II",
        protocol="semiseg",
        measures=_SEMISEG,
        data="covid_semiseg",
        rows=(
            _UNET,
            dataclasses.replace(_UNETPP, published="U-Net++"),
            _INFNET,
            Row("semi_infnet", "Semi-Inf-Net", "semi_infnet.py", "Semi-Inf-Net", base="infnet"),
            dataclasses.replace(_C2F, published=""),
            Row("semi_c2f", "ResUNet_C2F, semi-supervised", "semi_c2f.py", base="c2f"),
        ),
        reference="unet",
        note="The paper's networks start from ImageNet weights; a configuration does so only with "
        "`--config.init`. ResUNet_C2F is not in the paper's table.",
    ),
    "infnet-table3": Table(
        title="ground-glass opacities and consolidation",
        paper="infnet",
        number="III",
        protocol="semiseg",
        measures=_SEMISEG,
        data="covid_semiseg",
        rows=(*_of_classes("ground-glass"), *_of_classes("consolidation")),
        reference="fcn8s",
        note="A guided network takes the map of the Inf-Net of its seed beside the slice.",
    ),
    "infnet-table4": Table(
        title="parts of Inf-Net",
        paper="infnet",
        number="IV",
        protocol="semiseg",
        measures=_SEMISEG,
        data="covid_semiseg",
        rows=tuple(
            # The whole of it is Inf-Net of Table II, and shares its runs.
            Row(name, label, f"infnet.py:row={argument}", label)
            for name, argument, label in (
                ("infnet-backbone", "backbone", "Backbone"),
                ("infnet-ppd", "ppd", "Backbone+PPD"),
                ("infnet-ra", "ra", "Backbone+RA"),
                ("infnet-ppd+ra", "ppd+ra", "Backbone+PPD+RA"),
                ("infnet", "ppd+ra+ea", "Backbone+PPD+RA+EA"),
            )
        ),
        reference="infnet-backbone",
        note="The paper measured these with its semi-supervised schedule (its last row is "
        "Semi-Inf-Net of Table II), and starting from ImageNet weights; here each is trained on "
        "the labelled slices alone.",
    ),
    "semiseg": Table(
        title="the parts of ResUNet_C2F, and U-Nets, on COVID-SemiSeg",
        paper="infnet",
        number="II",
        protocol="semiseg",
        measures=_SEMISEG,
        data="covid_semiseg",
        rows=(
            dataclasses.replace(_BASELINE, published=""),
            _ablation("esm"),
            _ablation("assm"),
            _ablation("afm"),
            dataclasses.replace(_C2F, published=""),
            _UNET,
            dataclasses.replace(_UNETPP, published="U-Net++"),
            Row("c2f_augmented", "ResUNet_C2F, augmented", "c2f_augmented.py"),
            Row(
                "c2f_augmented+flips",
                "ResUNet_C2F, augmented, flips averaged",
                "c2f_augmented.py",
                runs_of="c2f_augmented",
                tta=True,
            ),
        ),
        reference="baseline",
        unclaimed="published value, not run in this table",
        note="Not a table of either paper; the published values are those of Table II of Inf-Net.",
    ),
}
