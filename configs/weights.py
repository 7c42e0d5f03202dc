"""The weights that come with the package: ResUNet_C2F, small, trained on several sets at once.

    python benchmarks/weights/make.py --data FOLDER --workdir runs/weights

Not a row of the paper. The script puts the data together, trains with the settings of
`--config=configs/weights.py:model=small,data=slice_folder`, and goes on where it was when it is
started again. Each set has a share of every batch, whole and cropped to the lungs, with and without
infection, and slices are changed so far that equalised, windowed, cropped and HU inputs look
alike. Slices cut to the lungs are wider than high, and so are these; what lies beyond the lungs is
half as bright. Six designs, to be compared at equal cost:

- `model=small`: 160×192, width 16, 0.8 M parameters;
- `model=base`: 192×256, the same network, 1.6 times the operations of a step;
- `model=fine`: 256×352, the same network, 2.9 times the operations of a step;
- `model=large`: 320×448, the same network, 4.7 times the operations of a step;
- `model=medium`: 256×352, width 24, 1.8 M parameters;
- `model=wide`: 256×352, width 32, 3.2 M parameters.

What they reach is on the card of `c2f-base`.
"""

from configs import base

MODELS = {
    "small": ((160, 192), {"width": 16, "blocks": (1, 1, 1, 1)}),
    "base": ((192, 256), {"width": 16, "blocks": (1, 1, 1, 1)}),
    "fine": ((256, 352), {"width": 16, "blocks": (1, 1, 1, 1)}),
    "large": ((320, 448), {"width": 16, "blocks": (1, 1, 1, 1)}),
    "medium": ((256, 352), {"width": 24, "blocks": (1, 1, 1, 1)}),
    "wide": ((256, 352), {"width": 32, "blocks": (1, 1, 1, 1)}),
}


def get_config(argument: str = ""):
    arguments = base.arguments(argument, model=tuple(MODELS))
    config = base.get_config(arguments["data"])
    config.data.size, network = MODELS[arguments["model"]]
    config.data.lungs = True
    config.model.update(network)
    config.sampling.slices = 9600
    config.sampling.groups = (
        ("equalised-crop", "all", 0.15),
        ("medseg-crop", "infected", 0.19),
        ("medseg-crop", "empty", 0.10),
        ("normal-crop", "empty", 0.12),
        ("equalised", "all", 0.04),
        ("medseg", "infected", 0.05),
        ("medseg", "empty", 0.04),
        ("normal", "empty", 0.04),
        ("cut", "all", 0.11),
        ("semiseg", "all", 0.16),
    )
    config.augment.probability = 0.9
    config.augment.flip_horizontal = 0.5
    config.augment.rotation = 15.0
    config.augment.scale = 0.3
    config.augment.stretch = 0.25
    config.augment.shift = 0.08
    config.augment.elastic = 0.012
    config.augment.equalise = 0.35
    config.augment.match = 0.3
    config.augment.window = 0.4
    config.augment.contrast = 0.25
    config.augment.brightness = 0.08
    config.augment.gamma = 0.3
    config.augment.curve = 0.3
    config.augment.noise = 0.04
    config.augment.blur = 1.2
    config.augment.cutmix = 0.3
    config.loss.name = "joint_cross_entropy"
    config.batch_size = 32
    config.learning_rate = 1e-3
    config.step_decay.epochs = 1
    config.step_decay.factor = 0.7
    config.averaging.decay = 0.999
    config.epochs = 12  # 115,200 slices: minutes of a GPU, ten hours of two CPU cores for `fine`
    return config
