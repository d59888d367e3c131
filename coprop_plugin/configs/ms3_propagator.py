# Stage 2 on MS3: AOT-Large with ResNet-50, from its released weights. Download them to aot_weights
# first: "R50_AOTL" in AOT's model zoo. Audio is inserted into four layers (Table 5). Clips are the
# segments between true control points, of two frames or more.
# Objects are told apart by the labels of AVSS; with avss_root=None all of them are one.
_base_ = ["_avsbench_propagator.py"]

dataset = dict(type="MS3", root="data/Multi-sources", avss_root="data/AVSS")
train_dataloader = dict(dataset=dict(dataset=dataset))
val_dataloader = dict(dataset=dict(dataset=dataset))
test_dataloader = dict(dataset=dict(dataset=dataset))
