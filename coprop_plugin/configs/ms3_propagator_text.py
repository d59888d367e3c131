# Table 4 on MS3, stage 2: a propagator that is guided by words in the place of audio.
# What sounds is named by AVSS's labels, or with words="points/ms3_train.json" by a language model.
_base_ = ["ms3_propagator.py"]

model = dict(
    propagator=dict(tokens="text", text=dict(model="openai/clip-vit-base-patch32")),
    vggish=None,
)
