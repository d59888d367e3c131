# Figure 3: alignment rate on MOC.
title = "Figure 3: Alignment Rate on MOC, PVT-v2"
measures = dict(MOC=("AR",))
differs = (
    "The figure has no numbers in the text. A frame is aligned if prediction and truth are both "
    "empty, or overlap by an IoU of 0.5 or more; the paper gives no threshold."
)
rows = [
    *(
        dict(
            name=f"{model}-pvt_v2_b5",
            method=method,
            paper=dict(MOC=None),
            model=model,
            weights=f"{model}_pvt_v2_b5_ms3",
        )
        for model, method in (("tpavi", "TPAVI"), ("catr", "CATR"), ("avsegformer", "AVSegFormer"))
    ),
    dict(
        name="ours-pvt_v2_b5",
        method="Co-Prop",
        paper=dict(MOC=None),
        model="keyframe_processor",
        weights="ms3_keyframes_1b",
        points="rcpg",
        propagator="ms3_propagator",
    ),
]
