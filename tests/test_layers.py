"""Blocks that every room shares: eval mode that restores every flag, normalisation, backbones."""

import threading

import pytest
import torch
from torch import nn

from coprop_plugin.errors import UnknownNameError
from coprop_plugin.layers import build_backbone, denormalise, evaluating, normalise


def flags(module):
    return [m.training for m in module.modules()]


def mixed():
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval(), nn.Dropout())
    assert flags(module) == [True, True, False, True]
    return module


def test_a_module_gets_its_flags_back():
    module = mixed()
    with pytest.raises(ZeroDivisionError), evaluating(module):
        _ = 1 / any(flags(module))
    assert flags(module) == [True, True, False, True]
    with evaluating("not a module"):
        pass


def test_blocks_that_overlap_keep_eval_mode_until_the_last_one_ends():
    """As two threads run one user's model: the first to begin is not the last to end."""
    module = mixed()
    first, second = evaluating(module), evaluating(module)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert flags(module) == [False] * 4
    second.__exit__(None, None, None)
    assert flags(module) == [True, True, False, True]


def test_threads_that_share_a_module_leave_its_flags_as_they_were():
    module = mixed()
    wrong = []
    start = threading.Barrier(4)

    def run():
        start.wait()
        for _ in range(300):
            with evaluating(module):
                if any(flags(module)):
                    wrong.append(flags(module))

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert flags(module) == [True, True, False, True]


def test_a_part_of_a_module_may_be_held_longer_than_the_whole():
    module = mixed()
    part = evaluating(module[0])
    with evaluating(module):
        part.__enter__()
    assert flags(module) == [True, False, False, True]
    part.__exit__(None, None, None)
    assert flags(module) == [True, True, False, True]


def test_normalising_is_undone():
    frames = torch.rand(2, 3, 4, 4)
    torch.testing.assert_close(denormalise(normalise(frames)), frames)
    white = normalise(torch.ones(1, 3, 1, 1)).flatten()
    torch.testing.assert_close(white, torch.tensor([2.2489, 2.4286, 2.64]), atol=1e-4, rtol=0)


def test_released_models_have_finer_and_coarser_norms():
    tiny = dict(type="pvt_v2_b0", hidden_sizes=(8, 16, 20, 16), depths=(1, 1, 1, 1))
    eps = {
        released: {
            m.eps
            for m in build_backbone(tiny, as_released=released).modules()
            if isinstance(m, nn.LayerNorm)
        }
        for released in (False, True)
    }
    assert eps == {False: {1e-6}, True: {1e-6, 1e-5}}


def test_an_unknown_backbone_is_named_with_those_there_are():
    with pytest.raises(
        UnknownNameError, match="'vgg' is not a backbone; expected one of small, re"
    ):
        build_backbone("vgg")
