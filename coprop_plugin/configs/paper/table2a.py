# Table 2 (a): what the Keyframe Processor on keyframes (KPF), RCPG and AIP each add.
title = "Table 2 (a): main modules, PVT-v2"
measures = dict(S4=("M_J", "M_F"), MS3=("M_J", "M_F"))
differs = "The paper gives neither feature nor threshold of the cosine similarity."
rows = [
    dict(
        name="baseline",
        method="cosine, original AOT",
        paper=dict(S4=(79.51, 88.24), MS3=(58.63, 69.71)),
        model="keyframe_processor",
        weights="{set}_keyframes",
        points="cosine",
        propagator="R50_AOTL_PRE_YTB_DAV",
    ),
    dict(
        name="kpf",
        method="+ KPF",
        paper=dict(S4=(80.89, 89.03), MS3=(58.82, 70.05)),
        model="keyframe_processor",
        weights="{set}_keyframes_1b",
        points="cosine",
        propagator="R50_AOTL_PRE_YTB_DAV",
    ),
    dict(
        name="kpf-rcpg",
        method="+ KPF + RCPG",
        paper=dict(S4=(82.21, 89.94), MS3=(61.97, 72.13)),
        model="keyframe_processor",
        weights="{set}_keyframes_1b",
        points="rcpg",
        propagator="R50_AOTL_PRE_YTB_DAV",
    ),
    dict(
        name="kpf-rcpg-aip",
        method="+ KPF + RCPG + AIP",
        paper=dict(S4=(83.71, 90.86), MS3=(63.58, 73.96)),
        model="keyframe_processor",
        weights="{set}_keyframes_1b",
        points="rcpg",
        propagator="{set}_propagator",
    ),
]
