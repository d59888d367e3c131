# The 1-layer variant of Table 5 on MS3: audio is inserted into the deepest map of the encoder
# only.
_base_ = ["ms3_propagator.py"]

model = dict(propagator=dict(insert_layers=(3,)))
