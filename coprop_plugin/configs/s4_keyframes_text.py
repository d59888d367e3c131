# Table 4 on S4, stage 1: a Keyframe Processor that is guided by words in the place of audio.
# What sounds is named by the data set, or with words="points/s4_train.json" by a language model.
_base_ = ["s4_keyframes.py"]

model = dict(
    processor=dict(guidance="text", text=dict(model="openai/clip-vit-base-patch32")),
    vggish=None,
)
