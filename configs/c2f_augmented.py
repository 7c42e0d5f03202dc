"""ResUNet_C2F with what the paper leaves out: augmentation on the device and averaged weights.

    python train.py --config=configs/c2f_augmented.py --workdir=runs/c2f_augmented

Not a row of the paper; everything else is configs/c2f.py. It is meant for small sets such as
`:data=covid_semiseg` with its 45 training slices, and for use on slices that were windowed or
equalised in another way than those trained on. Slices are only flipped left to right: a patient
lies on the back or on the belly, and the lungs show which. Takes `data=` as all configurations do.
"""

from configs import c2f


def get_config(argument: str = ""):
    config = c2f.get_config(argument)
    config.augment.probability = 0.9
    config.augment.flip_horizontal = 0.5
    config.augment.rotation = 15.0
    config.augment.scale = 0.2
    config.augment.shift = 0.08
    config.augment.elastic = 0.015
    config.augment.contrast = 0.25
    config.augment.brightness = 0.1
    config.augment.gamma = 0.3
    config.augment.curve = 0.4
    config.augment.noise = 0.04
    config.augment.blur = 1.0
    config.averaging.decay = 0.99
    return config
