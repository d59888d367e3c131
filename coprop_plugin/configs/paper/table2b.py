# Table 2 (b): how control points are found.
title = "Table 2 (b): sub-modules of RCPG, PVT-v2"
measures = dict(S4=("M_J", "M_F"), MS3=("M_J", "M_F"))
differs = (
    "The paper names no version of Qwen. The prompts are the paper's, with the number of frames "
    "of the clip for its ten (RCPG) and five (1-step)."
)
rows = [
    dict(
        name="cosine",
        method="Cosine",
        paper=dict(S4=(81.22, 89.13), MS3=(59.21, 70.45)),
        model="keyframe_processor",
        points="cosine",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
    ),
    dict(
        name="one_step",
        method="1-step",
        paper=dict(S4=(81.45, 89.22), MS3=(61.05, 70.83)),
        model="keyframe_processor",
        points="one_step",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
    ),
    dict(
        name="three_step",
        method="3-step",
        paper=dict(S4=(81.72, 89.31), MS3=(61.85, 71.22)),
        model="keyframe_processor",
        points="three_step",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
    ),
    dict(
        name="rcpg",
        method="RCPG",
        paper=dict(S4=(83.71, 90.86), MS3=(63.58, 73.96)),
        model="keyframe_processor",
        points="rcpg",
        weights="{set}_keyframes_1b",
        propagator="{set}_propagator",
    ),
]
