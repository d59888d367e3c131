# Base of the AVSBench propagator configs.
_base_ = ["_avsbench.py"]

model = dict(
    type="PropagatorTraining",
    # The audio of the current frame alone, as in the paper.
    propagator=dict(insert_layers=(0, 1, 2, 3), audio_encoder="VGGish", neighbours=(0,)),
    aot_weights="data/R50_AOTL_PRE_YTB_DAV.pth",
    vggish="released",
    freeze_encoder=True,
)
train_dataloader = dict(
    dataset=dict(type="Segments", dataset=dict(split="train", size=224)),
    collate_fn=dict(type="coprop_plugin.sounding_clips"),
)
val_dataloader = dict(
    dataset=dict(type="Segments", dataset=dict(split="val", size=224)),
    collate_fn=dict(type="coprop_plugin.sounding_clips"),
)
test_dataloader = dict(
    dataset=dict(type="Segments", dataset=dict(split="test", size=224)),
    collate_fn=dict(type="coprop_plugin.sounding_clips"),
)
