# Eq. (6) to the letter on S4: one audio token a frame, whose value replaces the image features.
# The softmax over one key is 1, so that every pixel gets the same vector; see `AudioInsert`.
_base_ = ["s4_propagator.py"]

model = dict(propagator=dict(residual=False, tokens="embedding"))
