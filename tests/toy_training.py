"""Networks and data small enough to train in a test."""

TOY_PROCESSOR = dict(
    backbone=dict(type="small", widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)),
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    width=16,
    mask_width=8,
    num_queries=4,
    encoder_layers=1,
    decoder_layers=2,
    heads=2,
)
TOY_PROPAGATOR = dict(
    preset="AOTS",
    encoder=dict(type="r50", width=8, blocks=(1, 1, 1)),
    width=16,
    num_heads=2,
    audio_encoder=dict(type="SmallLogMelEncoder", width=4),
    audio_width=16,
)
SIZE = (32, 48)
