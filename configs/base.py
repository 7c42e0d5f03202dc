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
    # A finished run's folder whose weights to start from (fine-tuning); None, or a path.
    config.init = config_dict.placeholder(str)

    config.data = ConfigDict()
    config.data.name = data
    config.data.config = ""  # the dataset's own configuration; empty for its default
    config.data.source = ""  # folder with the publisher's or your own files
    config.data.data_dir = ""  # where built datasets lie; empty for TFDS's default
    config.data.mask_values = "0:0,255:1"  # slice_folder: grey value in the file -> class
    config.data.train = "train"
    config.data.validation = "validation"
    config.data.test = "test"
    config.data.size = (256, 256)
    config.data.window = (-600.0, 1500.0)  # centre and width in HU, for images in HU
    config.data.cache_gib = 8.0

    config.model = ConfigDict()
    config.model.name = "cosup"
    config.model.width = 64
    config.model.blocks = (3, 4, 6, 3)
    config.model.edge_levels = (1, 2)
    config.model.mask_levels = (3, 4, 5)
    config.model.decoder_edge_levels = ()
    config.model.decoder_mask_levels = ()
    config.model.fusion = "attention"
    config.model.dtype = "float32"

    config.loss = ConfigDict()
    config.loss.theta = 0.8
    config.loss.beta = 0.4
    config.loss.zeta = 1.0
    config.loss.omega = 1.0
    config.loss.reduction = "batch"
    config.loss.eps = 1.0

    config.learning_rate = 1e-4
    config.plateau = ConfigDict()
    config.plateau.factor = 0.5
    config.plateau.patience = 25  # epochs; with early stopping at 25 too it can hardly act
    config.early_stopping = ConfigDict()
    config.early_stopping.patience = 25

    config.log = ConfigDict()
    config.log.image_epochs = 5  # TensorBoard pictures every so many epochs
    return config
