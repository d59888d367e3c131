# Figure 4: other models as Keyframe Processors.
title = "Figure 4: models without and with Co-Prop, PVT-v2"
measures = dict(S4=("M_J", "M_F"), MS3=("M_J", "M_F"))
differs = "The figure has no numbers in the text."
with_co_prop = dict(points="rcpg", propagator="{set}_propagator")
rows = [
    dict(
        name=f"{model}-{name}",
        method=f"{method}{title}",
        paper=dict(S4=None, MS3=None),
        model=model,
        weights=f"{model}_pvt_v2_b5_{{set}}",
        **options,
    )
    for model, method in (("tpavi", "TPAVI"), ("catr", "CATR"), ("avsegformer", "AVSegFormer"))
    for name, title, options in (
        ("bare", "", {}),
        ("co_prop", " as Keyframe Processor", with_co_prop),
    )
]
