# Stage 2 on AVSS: AOT-Large with ResNet-50, from its released weights. Download them to aot_weights
# first: "R50_AOTL" in AOT's model zoo. Audio is inserted into four layers (Table 5).
_base_ = ["_avsbench_propagator.py"]

root = "data/AVSS"
train_dataloader = dict(dataset=dict(type="AVSS", root=root, split="train", size=224))
val_dataloader = dict(dataset=dict(type="AVSS", root=root, split="val", size=224))
test_dataloader = dict(dataset=dict(type="AVSS", root=root, split="test", size=224))
