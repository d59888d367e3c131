# Table 4 on MS3, stage 1: a Keyframe Processor that is guided by words in the place of audio.
# What sounds is named by AVSS's labels, or with words="points/ms3_train.json" by a language model.
_base_ = ["ms3_keyframes.py"]

model = dict(
    processor=dict(guidance="text", text=dict(model="openai/clip-vit-base-patch32")),
    vggish=None,
)
train_dataloader = dict(dataset=dict(avss_root="data/AVSS"))
val_dataloader = dict(dataset=dict(avss_root="data/AVSS"))
test_dataloader = dict(dataset=dict(avss_root="data/AVSS"))
