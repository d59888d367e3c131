# Figure 4: other models as Keyframe Processors.
title = "Figure 4: models without and with Co-Prop, PVT-v2"
measures = dict(S4=("M_J", "M_F"), MS3=("M_J", "M_F"))
differs = "The figure has no numbers in the text."
rows = [
    dict(
        name="tpavi-bare",
        method="TPAVI",
        paper=dict(S4=None, MS3=None),
        model="tpavi",
        weights="tpavi_pvt_v2_b5_{set}",
    ),
    dict(
        name="tpavi-co_prop",
        method="TPAVI as Keyframe Processor",
        paper=dict(S4=None, MS3=None),
        model="tpavi",
        weights="tpavi_pvt_v2_b5_{set}",
        points="rcpg",
        propagator="{set}_propagator",
    ),
    dict(
        name="catr-bare",
        method="CATR",
        paper=dict(S4=None, MS3=None),
        model="catr",
        weights="catr_pvt_v2_b5_{set}",
    ),
    dict(
        name="catr-co_prop",
        method="CATR as Keyframe Processor",
        paper=dict(S4=None, MS3=None),
        model="catr",
        weights="catr_pvt_v2_b5_{set}",
        points="rcpg",
        propagator="{set}_propagator",
    ),
    dict(
        name="avsegformer-bare",
        method="AVSegFormer",
        paper=dict(S4=None, MS3=None),
        model="avsegformer",
        weights="avsegformer_pvt_v2_b5_{set}",
    ),
    dict(
        name="avsegformer-co_prop",
        method="AVSegFormer as Keyframe Processor",
        paper=dict(S4=None, MS3=None),
        model="avsegformer",
        weights="avsegformer_pvt_v2_b5_{set}",
        points="rcpg",
        propagator="{set}_propagator",
    ),
]
