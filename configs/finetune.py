r"""The weights that come with the package, trained on with slices or volumes of one's own.

    python train.py --config=configs/finetune.py:data=volume_folder --config.data.source=results \
        --config.data.config=masks=corrected,test=no --workdir=runs/corrected

Not a row of the paper. Network and size are those of `weights=c2f-small`, or of `weights=c2f-base`,
whose weights it starts from. Slices are cut to the box of their volume's lungs and darker beyond
lungs, as these weights know them. `predict` shows the run what it shows these weights.
The rate is a fraction of what they were trained with, and few epochs are enough. What to expect is
in docs/correct.md.
"""

from configs import base

_WEIGHTS = {
    "c2f-small": ((192, 256), "volume", {"width": 16, "blocks": (1, 1, 1, 1)}),
    "c2f-base": ((256, 352), "mirrored", {"width": 16, "blocks": (1, 1, 1, 1)}),
}


def get_config(argument: str = ""):
    arguments = base.arguments(argument, weights=tuple(_WEIGHTS))
    config = base.get_config(arguments["data"])
    config.init = arguments["weights"]
    config.data.size, config.data.crop, network = _WEIGHTS[arguments["weights"]]
    config.data.lungs = True
    config.model.update(network)
    config.augment.flip_horizontal = 0.5
    config.augment.rotation = 10.0
    config.augment.scale = 0.15
    config.augment.contrast = 0.15
    config.augment.brightness = 0.05
    config.augment.noise = 0.02
    config.loss.name = "joint_cross_entropy"
    config.learning_rate = 2e-4
    config.plateau.patience = 4
    config.early_stopping.patience = 10
    config.epochs = 30
    return config
