r"""Ground-glass and consolidation told apart (Fan et al. 2020, Section III-C, Table III).

    python train.py --config=configs/multiclass.py:net=cosup,data=covid_semiseg \
      --config.data.source=FOLDER
    python train.py --config=configs/multiclass.py:net=fcn8s,data=covid_semiseg \
      --config.data.source=FOLDER --config.init=runs/semi_infnet

`net=cosup` is ResUNet_C2F with a softmax over three classes and Dice class by class, which neither
paper has; it needs no guide. FCN8s and U-Net are guided by Inf-Net's infection map, whose weights
`--config.init` gives, a run or a published file; with `guide=none` they see the slice alone.
`net=deeplab8` and `net=deeplab16` are DeepLabV3+ at an output stride of 8 and 16, without a guide;
how they were trained is not said, here at 352×352 with cross-entropy. `net=fcn8s` is as in the
paper (512×512, SGD of 1e-10 on a summed loss, momentum 0.99, weight decay 5e-4; its number of
epochs is not said, and 100 are taken) and `net=unet` as in the authors' release (352×352, six input
channels, SGD of 0.01, momentum 0.7, 200 epochs of batch 16). The paper names 64.6 Dice for
ground-glass and 23.8 for consolidation (Semi-Inf-Net with FCN8s, its own protocol), 47.1 and 22.1
for FCN8s without a guide, 37.5 and 11.7 for DeepLabV3+ at stride 8, 44.3 and 18.8 at 16.

`python -m cosup_jax experiment infnet-table3` runs and scores all of them, guides included.
`python -m cosup_jax evaluate` scores all infection together, and with `--by-class` each class for
itself. Labels with more classes, as the phantoms' effusion, need `--config.model.classes=4` or, of
a guided network, `--config.model.labeller.classes=4`. Full size wants a GPU.
"""

from configs import base, baseline, infnet


def get_config(argument: str = ""):
    arguments = base.arguments(
        argument, net=("cosup", "fcn8s", "unet", "deeplab8", "deeplab16"), guide=("infnet", "none")
    )
    config = base.get_config(arguments["data"])
    if arguments["net"] == "cosup":
        config.model.classes = 3
        config.loss.name = "multiclass_joint"
        return config
    dtype = config.model.dtype
    config.data.scaling = "unit"
    if arguments["net"].startswith("deeplab"):
        stride = int(arguments["net"].removeprefix("deeplab"))
        net = {**baseline.NETS["deeplabv3plus"], "output_stride": stride, "classes": 3}
        config.model = {"name": "deeplabv3plus", **net, "dtype": dtype}
        config.loss = {"name": "cross_entropy", "summed": False}
        config.data.size = (352, 352)
        return config
    config.optimizer.name = "sgd"
    config.plateau.patience = 1000
    config.early_stopping.patience = 1000
    if arguments["net"] == "fcn8s":
        labeller = {"name": "fcn8s", "classes": 3, "width": 64, "blocks": (2, 2, 3, 3, 3)}
        config.loss = {"name": "cross_entropy", "summed": True}
        config.data.size = (512, 512)
        config.learning_rate = 1e-10
        config.optimizer.momentum = 0.99
        config.optimizer.weight_decay = 5e-4
        config.batch_size = 1
        config.epochs = 100
    else:
        labeller = {"name": "multiclass_unet", "classes": 3, "width": 64}
        config.loss = {"name": "one_hot"}
        config.data.size = (352, 352)
        config.learning_rate = 1e-2
        config.optimizer.momentum = 0.7
        config.batch_size = 16
        config.epochs = 200
    if arguments["guide"] == "none":
        config.model = {**labeller, "dtype": dtype}
        return config
    guide = infnet.get_config().model.to_dict()
    del guide["dtype"]  # that of the whole network
    config.model = {
        "name": "guided",
        "guide": guide,
        "labeller": labeller,
        "guide_size": (352, 352),
        "dtype": dtype,
    }
    return config
