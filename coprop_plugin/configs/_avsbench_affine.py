# Base of stage 2 where only one frame of a training clip is labelled: clips are generated from it;
# see affine_clips.
_base_ = ["_avsbench_propagator.py"]

custom_imports = dict(
    imports=[
        "coprop_plugin.training.models",
        "coprop_plugin.training.batches",
        "coprop_plugin.training.affine_clips",
    ]
)
train_dataloader = dict(collate_fn=dict(type="coprop_plugin.affine_clips"))
