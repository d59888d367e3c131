"""AVSegFormer (Gao et al., arXiv:2307.01146): driving a model of the released code."""
