# A small AVSegFormer on synthetic scenes: ten minutes on one CPU core.
_base_ = ["_world_family.py"]

model = dict(
    type="FamilyTraining",
    model=dict(
        type="avsegformer",
        backbone="small",
        audio_encoder="SmallLogMelEncoder",
        width=64,
        num_queries=16,
        heads=4,
        dropout=0.0,
        layers=2,
        hidden=64,
        listening_hidden=64,
        freeze_audio=False,
        input_size=(112, 160),
    ),
    senses="shipped",
)
