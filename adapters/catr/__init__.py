"""CATR (Li et al., arXiv:2309.09709): driving a model of the released code."""
