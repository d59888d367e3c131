"""Data sets, scores and comparisons for audio-visual segmentation over time.

`datasets` gives clips with their truth, `metrics` scores predictions:

    dataset = MS3("Multi-sources", split="test", size=224)
    scores = MaskScores()
    for sample in dataset:
        scores.update(Outcome.of(model.segment(sample.clip), sample))
    scores.compute()["M_J"]

`plug_and_play` scores models bare and with each part of Co-Prop; `compare` scores control-point
providers.
"""
