# The 1-layer variant of Table 5 on S4: audio is inserted into the deepest map of the encoder
# only.
_base_ = ["s4_propagator.py"]

model = dict(propagator=dict(insert_layers=(3,)))
