# Table 6: key frames and the others.
title = "Table 6: key frames and normal frames, PVT-v2"
measures = dict(S4=("M_J", "M_F"), MS3=("M_J", "M_F"))
differs = "Key frames are those of the control points that were found."
rows = [
    dict(
        name="all",
        method="All frames",
        paper=dict(S4=(83.71, 90.86), MS3=(63.58, 73.96)),
        model="keyframe_processor",
        points="rcpg",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
    ),
    dict(
        name="key",
        method="Key frames",
        paper=dict(S4=(79.25, 86.55), MS3=(59.82, 70.59)),
        model="keyframe_processor",
        points="rcpg",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
        part="key",
    ),
    dict(
        name="normal",
        method="Normal frames",
        paper=dict(S4=(85.03, 92.37), MS3=(65.19, 75.39)),
        model="keyframe_processor",
        points="rcpg",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
        part="normal",
    ),
]
