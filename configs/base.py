"""Every field of every configuration, born here with the paper's values (Table 1).

Not run by itself; the experiments beside this file change a few of these values. All of them take
the argument `data=lung_phantom|slice_folder|covid_semiseg` after a colon.
"""

from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict, config_dict

import tfds_builders
from cosup_jax.config import parse_arguments

DEFAULT_DATA = "lung_phantom"


def arguments(text: str | None, **valid: Sequence[str]) -> Mapping[str, str]:
    """Parses a configuration's arguments: `data=` and those of its own."""
    others = [name for name in tfds_builders.available() if name != DEFAULT_DATA]
    return parse_arguments(text, {**valid, "data": (DEFAULT_DATA, *others)})


def get_config(data: str = DEFAULT_DATA) -> ConfigDict:
    """Returns ResUNet_C2F trained as in the paper."""
    config = ConfigDict()
    config.seed = 0
    config.epochs = 300  # an upper limit; early stopping ends a run
    config.batch_size = 8
    config.devices = 0  # how many local devices to use; 0 takes all of them
    # Whose weights to start from: a finished run's folder, the name of weights that come with the
    # package, or a file of weights, also of PyTorch (Res2Net-50 v1b, ResNet-34 and -50, VGG-16,
    # published Inf-Nets); None (`--config.init=`), or a path.
    config.init = config_dict.placeholder(str)

    config.data = ConfigDict()
    config.data.name = data
    config.data.config = ""  # the dataset's own configuration, or options of volume_folder
    config.data.source = ""  # folder with the publisher's or your own files
    config.data.data_dir = ""  # where built datasets lie; empty for TFDS's default
    config.data.mask_values = "0:0,255:1"  # of your own folders: value in the mask -> class
    config.data.train = "train"
    config.data.validation = "validation"
    config.data.test = "test"
    config.data.size = (256, 256)
    config.data.window = (-600.0, 1500.0)  # centre and width in HU, for images in HU
    config.data.scaling = "z_score"  # or "unit": grey values in 0..1
    # "volume" cuts slices to the box of their volume's lungs, as predict then does; with "slice" it
    # looks closer, at each slice's own, with "both" at both, and with "mirrored" at the box and its
    # mirror image; "" leaves slices whole.
    config.data.crop = ""
    # True makes what lies beyond the lungs that `lungs-small` finds half as bright.
    config.data.lungs = False
    # Multi-scale training: in each step the size times one of these, rounded to a multiple of 32.
    config.data.scales = (1.0,)
    config.data.cache_gib = 8.0

    # Balanced sampling: which share of the slices trained on is of which group; the score that
    # chooses the epoch is then the mean over groups. Each is (start of the case ids, "infected",
    # "empty" or "all", share), and a slice is of the first that it fits; () takes all as they are.
    config.sampling = ConfigDict()
    config.sampling.groups = ()
    config.sampling.slices = 0  # in an epoch; 0 for as many as there are

    # How far training slices are changed at random; all off as in the paper. What each means, and
    # in which unit: cosup_jax/data/augment.py.
    config.augment = ConfigDict()
    config.augment.probability = 1.0
    config.augment.flip_horizontal = 0.0
    config.augment.flip_vertical = 0.0
    config.augment.rotation = 0.0
    config.augment.scale = 0.0
    config.augment.stretch = 0.0
    config.augment.shift = 0.0
    config.augment.elastic = 0.0
    config.augment.equalise = 0.0
    config.augment.match = 0.0
    config.augment.window = 0.0
    config.augment.contrast = 0.0
    config.augment.brightness = 0.0
    config.augment.gamma = 0.0
    config.augment.curve = 0.0
    config.augment.noise = 0.0
    config.augment.blur = 0.0
    config.augment.cutmix = 0.0

    config.model = ConfigDict()
    config.model.name = "cosup"
    config.model.width = 64
    config.model.blocks = (3, 4, 6, 3)
    config.model.edge_levels = (1, 2)
    config.model.mask_levels = (3, 4, 5)
    config.model.decoder_edge_levels = ()
    config.model.decoder_mask_levels = ()
    config.model.fusion = "attention"
    config.model.classes = 1  # logits of a pixel; with 3, background, ground-glass, consolidation
    config.model.dtype = "float32"

    config.loss = ConfigDict()
    config.loss.name = "joint"  # the options of another loss are others: see losses.build
    config.loss.theta = 0.8
    config.loss.beta = 0.4
    config.loss.zeta = 1.0
    config.loss.omega = 1.0
    config.loss.reduction = "batch"
    config.loss.eps = 1.0

    config.learning_rate = 1e-4
    config.optimizer = ConfigDict()
    config.optimizer.name = "adam"  # or "sgd"
    config.optimizer.momentum = 0.0  # of sgd
    config.optimizer.weight_decay = 0.0
    config.clip = 0.0  # gradients are clipped to ± this value; 0 does not clip
    config.step_decay = ConfigDict()
    config.step_decay.factor = 0.1
    config.step_decay.epochs = 0  # the rate takes this factor every so many epochs; 0 for never
    config.plateau = ConfigDict()
    config.plateau.factor = 0.5
    config.plateau.patience = 25  # epochs; with early stopping at 25 too it can hardly act
    config.early_stopping = ConfigDict()
    config.early_stopping.patience = 25
    # Evaluate and keep a moving average of weights and batch statistics; 0 takes them as they are.
    config.averaging = ConfigDict()
    config.averaging.decay = 0.0

    # Semi-supervised training (Algorithm 1 of Inf-Net): what it does is said in training/semi.py.
    config.semi = ConfigDict()
    config.semi.per_round = 0  # K, unlabelled slices a round; 0 trains on labelled slices alone
    config.semi.unlabelled = "unlabelled"  # the split they come from
    config.semi.exclude_patients = ()  # ids of those whose other slices are scored later
    config.semi.epochs = 1.0  # of training in each round; a part of one, such as 0.25, will do
    config.semi.pretrain_epochs = 100
    config.semi.pretrain_batch_size = 24

    config.log = ConfigDict()
    config.log.image_epochs = 5  # TensorBoard pictures every so many epochs
    return config
