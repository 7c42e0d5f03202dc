"""The weights that find lungs in `predict`: a small ResUNet, with lungs for its mask.

    python benchmarks/weights/lungs.py --data FOLDER --workdir runs/lungs

Not a row of the paper. The script puts the data together and trains with the settings of
`--config=configs/lungs.py:data=slice_folder`; what is infected is a part of the lung, however
dense. Slices are changed so far that windowed, equalised and 16-bit inputs look alike. Lungs are
large, so that 96×96 pixels, width 8 and neither supervised stages nor fusion are enough: experts'
lungs brought to that size and back keep a Dice of 0.994.
"""

from configs import base


def get_config(argument: str = ""):
    config = base.get_config(base.arguments(argument)["data"])
    config.data.size = (96, 96)
    config.batch_size = 16
    config.model.width = 8
    config.model.blocks = (1, 1, 1, 1)
    config.model.edge_levels = ()
    config.model.mask_levels = ()
    config.model.fusion = "none"
    config.sampling.slices = 1600
    config.sampling.groups = (
        ("medseg", "infected", 0.40),
        ("medseg", "empty", 0.12),
        ("equalised", "all", 0.34),
        ("phantom", "all", 0.14),
    )
    config.augment.probability = 0.8
    config.augment.flip_horizontal = 0.5
    config.augment.rotation = 12.0
    config.augment.scale = 0.3
    config.augment.stretch = 0.15
    config.augment.shift = 0.08
    config.augment.window = 0.3
    config.augment.contrast = 0.25
    config.augment.brightness = 0.08
    config.augment.gamma = 0.3
    config.augment.curve = 0.25
    config.augment.noise = 0.04
    config.augment.blur = 1.0
    config.loss.name = "joint_cross_entropy"
    config.learning_rate = 2e-3
    config.step_decay.factor = 0.3
    config.step_decay.epochs = 7
    config.early_stopping.patience = 100
    config.averaging.decay = 0.99
    config.epochs = 24
    return config
