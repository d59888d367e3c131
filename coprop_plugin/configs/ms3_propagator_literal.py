# Eq. (6) to the letter on MS3: one audio token a frame, whose value replaces the image features.
# The softmax over one key is 1, so that every pixel gets the same vector; see `AudioInsert`.
_base_ = ["ms3_propagator.py"]

model = dict(propagator=dict(residual=False, tokens="embedding"))
