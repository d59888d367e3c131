# Table 1: S4, MS3 and AVSS, the models of others alone and the paper's own with all of Co-Prop.
title = "Table 1: comparison on S4, MS3 (M3 in the paper) and AVSS"
measures = dict(S4=("M_J", "M_F"), MS3=("M_J", "M_F"), AVSS=("avsbench_mIoU", "avsbench_F"))
differs = (
    "M_F is that of one clip a batch, as AVSBench's depends on the batch. The paper's numbers of "
    "other models are copied from their papers, not run by it. AVSS's clips of 5 frames are not "
    "padded to 10, so that no padding is scored."
)
rows = [
    dict(
        name="tpavi-resnet50",
        method="TPAVI, ResNet-50",
        paper=dict(S4=(72.8, 84.8), MS3=(47.9, 57.8), AVSS=(20.2, 25.2)),
        model="tpavi",
        weights="tpavi_resnet50_{set}",
    ),
    dict(
        name="tpavi-pvt_v2_b5",
        method="TPAVI, PVT-v2",
        paper=dict(S4=(78.7, 87.9), MS3=(54.0, 64.5), AVSS=(29.8, 35.2)),
        model="tpavi",
        weights="tpavi_pvt_v2_b5_{set}",
    ),
    dict(
        name="catr-resnet50",
        method="CATR, ResNet-50",
        paper=dict(S4=(74.8, 86.6), MS3=(52.8, 65.3)),
        model="catr",
        weights="catr_resnet50_{set}",
    ),
    dict(
        name="catr-resnet50",
        method="CATR, ResNet-50",
        paper=dict(AVSS=(23.4, 28.6)),
        code="its authors published that for S4 alone, without classes",
    ),
    dict(
        name="catr-pvt_v2_b5",
        method="CATR, PVT-v2",
        paper=dict(S4=(81.4, 89.6), MS3=(59.0, 70.0)),
        model="catr",
        weights="catr_pvt_v2_b5_{set}",
    ),
    dict(
        name="catr-pvt_v2_b5",
        method="CATR, PVT-v2",
        paper=dict(AVSS=(32.8, 38.5)),
        code="its authors published that for S4 alone, without classes",
    ),
    dict(
        name="autr-resnet50",
        method="AuTR, ResNet-50",
        paper=dict(S4=(75.0, 85.2), MS3=(49.4, 61.2)),
        code="none found",
    ),
    dict(
        name="autr-pvt_v2_b5",
        method="AuTR, PVT-v2",
        paper=dict(S4=(80.4, 89.1), MS3=(56.2, 67.2)),
        code="none found",
    ),
    dict(
        name="aqformer-resnet50",
        method="AQFormer, ResNet-50",
        paper=dict(S4=(77.0, 86.4), MS3=(55.7, 66.9)),
        code="none found",
    ),
    dict(
        name="aqformer-pvt_v2_b5",
        method="AQFormer, PVT-v2",
        paper=dict(S4=(81.6, 89.4), MS3=(61.1, 72.1)),
        code="none found",
    ),
    dict(
        name="bavs-resnet50",
        method="BAVS, ResNet-50",
        paper=dict(S4=(78.0, 85.3), MS3=(50.2, 62.4), AVSS=(24.7, 29.6)),
        code="none found",
    ),
    dict(
        name="bavs-pvt_v2_b5",
        method="BAVS, PVT-v2",
        paper=dict(S4=(82.0, 88.6), MS3=(58.6, 65.5), AVSS=(32.6, 36.4)),
        code="none found",
    ),
    dict(
        name="avs_bigen-resnet50",
        method="AVS-BiGen, ResNet-50",
        paper=dict(S4=(74.1, 85.4), MS3=(45.0, 56.8)),
        code="https://github.com/OpenNLPLab/AVS-bidirectional",
    ),
    dict(
        name="avs_bigen-pvt_v2_b5",
        method="AVS-BiGen, PVT-v2",
        paper=dict(S4=(81.7, 90.4), MS3=(55.1, 66.8)),
        code="https://github.com/OpenNLPLab/AVS-bidirectional",
    ),
    dict(
        name="avsegformer-resnet50",
        method="AVSegFormer, ResNet-50",
        paper=dict(S4=(76.4, 86.7), MS3=(53.8, 65.6), AVSS=(26.6, 31.5)),
        model="avsegformer",
        weights="avsegformer_resnet50_{set}",
        size=dict(S4=512, MS3=512),
        differs="Scored at 512 pixels on S4 and MS3, as by its authors.",
    ),
    dict(
        name="avsegformer-pvt_v2_b5",
        method="AVSegFormer, PVT-v2",
        paper=dict(S4=(82.1, 89.9), MS3=(58.36, 69.3), AVSS=(37.3, 42.8)),
        model="avsegformer",
        weights="avsegformer_pvt_v2_b5_{set}",
        size=dict(S4=512, MS3=512),
        differs="Scored at 512 pixels on S4 and MS3, as by its authors.",
    ),
    dict(
        name="ours-resnet50",
        method="Co-Prop, ResNet-50",
        paper=dict(S4=(78.5, 87.2), MS3=(57.2, 68.4), AVSS=(30.2, 35.8)),
        model="keyframe_processor",
        weights="{set}_keyframes_1b_r50",
        points="rcpg",
        propagator="{set}_propagator",
    ),
    dict(
        name="ours-pvt_v2_b5",
        method="Co-Prop, PVT-v2",
        paper=dict(S4=(83.7, 90.9), MS3=(63.6, 74.0), AVSS=(39.6, 44.4)),
        model="keyframe_processor",
        weights="{set}_keyframes_1b",
        points="rcpg",
        propagator="{set}_propagator",
    ),
]
