"""The tables as data: of each row its name, its configuration, and its name in the paper."""

import dataclasses

from cosup_jax.experiments.rows import (
    BASELINE,
    C2F,
    COMPARATORS,
    INFNET,
    UNET,
    UNETPP,
    Row,
    Table,
    ablation,
    of_classes,
    unnamed,
)

_SIX = ("dice", "sensitivity", "precision", "mae", "e_phi_mean", "s_alpha")
_THREE = ("dice", "sensitivity", "mae")
_SEMISEG = ("dice", "sensitivity", "specificity", "s_alpha", "e_phi_mean", "mae")


def _other_dataset(number: str, name: str, data: str) -> Table:
    return Table(
        title=f"networks on {name}",
        paper="cosup",
        number=number,
        protocol="cosup",
        measures=_THREE,
        data=data,
        rows=(*COMPARATORS, C2F),
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
        rows=(*COMPARATORS, C2F),
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
            dataclasses.replace(BASELINE, published="", note="not in the paper's table"),
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
            BASELINE,
            ablation("esm", "esm"),
            ablation("assm", "assm"),
            ablation("afm", "afm"),
            *unnamed("esm+assm"),
            ablation("esm+afm", "esm+afm (from the prose)"),
            ablation("assm+afm", "assm+afm (from the prose)"),
            dataclasses.replace(C2F, label="ESM + ASSM + AFM", published="esm+assm+afm"),
            *unnamed("esm*", "assm*", "esm*+assm*", "esm*+afm", "assm*+afm"),
            ablation("esm*+assm*+afm", "esm*+assm*+afm (from the prose)"),
            ablation("esm+esm*+afm", "esm+esm*+afm (from the prose)"),
            *unnamed("esm+assm*+afm", "assm+esm*+afm", "assm+assm*+afm"),
            *unnamed("esm+assm+esm*+assm*+afm"),
        ),
        reference="baseline",
        unclaimed="published row not identified: its check marks are lost in the text at hand",
        note="* is supervision on the decoder. Which modules a published value belongs to is known "
        "from the paper's prose for nine rows only.",
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
            UNET,
            dataclasses.replace(UNETPP, published="U-Net++"),
            INFNET,
            Row("semi_infnet", "Semi-Inf-Net", "semi_infnet.py", "Semi-Inf-Net", base="infnet"),
            dataclasses.replace(C2F, published=""),
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
        rows=(*of_classes("ground-glass"), *of_classes("consolidation")),
        reference="fcn8s",
        note="A class is scored where it is the likeliest, a map of 0 and 1. A guided network "
        "takes the map of the Inf-Net of its seed beside the slice.",
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
            dataclasses.replace(BASELINE, published=""),
            ablation("esm"),
            ablation("assm"),
            ablation("afm"),
            dataclasses.replace(C2F, published=""),
            UNET,
            dataclasses.replace(UNETPP, published="U-Net++"),
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
