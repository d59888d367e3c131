"""TPAVI (Zhou et al., arXiv:2207.05042): driving a model of the released AVSBench code."""
