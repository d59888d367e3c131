# Table 4: words instead of audio.
title = "Table 4: text instead of audio, PVT-v2"
measures = dict(S4=("M_J", "M_F"), MS3=("M_J", "M_F"))
differs = "The paper does not say where the words enter."
rows = [
    dict(
        name="direct",
        method="Co-Prop (direct-guided)",
        paper=dict(S4=(83.7, 90.9), MS3=(63.6, 74.0)),
        model="keyframe_processor",
        points="rcpg",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
    ),
    dict(
        name="text",
        method="Text-guided",
        paper=dict(S4=(78.5, 87.1), MS3=(52.8, 63.7)),
        model="keyframe_processor",
        points="rcpg",
        weights="{set}_keyframes_text",
        propagator="{set}_propagator_text",
    ),
]
