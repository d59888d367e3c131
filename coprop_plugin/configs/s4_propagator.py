# Stage 2 on S4: AOT-Large with ResNet-50, from its released weights. Download them to aot_weights
# first: "R50_AOTL" in AOT's model zoo. Audio is inserted into four layers (Table 5). Clips are the
# segments between true control points, of two frames or more.
# Only one frame of each training clip is labelled, so clips are generated from it; see
# affine_clips.
_base_ = ["_avsbench_affine.py"]

dataset = dict(type="S4", root="data/Single-source")
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
