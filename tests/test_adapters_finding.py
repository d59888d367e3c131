"""Which adapter drives which model, and that torch and the model are left as they were."""

import threading

import pytest
import stand_ins
import torch
from torch import nn

from coprop_plugin.adapters import find_backend
from coprop_plugin.adapters.devices import attributes, borrow_model, cuda_calls_stay
from coprop_plugin.errors import AdapterError, UnknownNameError
from coprop_plugin.registry import MODELS, build
from coprop_plugin.types import Clip


def bright(frames, audio):
    return frames.mean(1) - 0.5


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (stand_ins.AVSegFormer, "AVSegFormerBackend"),
        (stand_ins.TPAVI, "TPAVIBackend"),
        (stand_ins.TPAVISemantic, "TPAVIBackend"),
        (stand_ins.CATR, "CATRBackend"),
        (stand_ins.Pred_endecoder, "TPAVIBackend"),
    ],
)
def test_models_are_recognised_by_structure(model, name):
    backend = find_backend(model())
    assert type(backend).__name__ == name
    assert type(find_backend(nn.DataParallel(model(), device_ids=[]))).__name__ == name


def test_an_adapter_can_be_named_in_every_way():
    model = stand_ins.TPAVI()
    kind = type(find_backend(model))
    for backend in ("tpavi", "TPAVIBackend", "coprop_plugin.tpavi", kind, {"type": "tpavi"}):
        found = find_backend(model, backend, context="frame")
        assert isinstance(found, kind)
        assert found.model is model
        assert found.context == "frame"
    assert find_backend(found) is found
    assert find_backend(model, found) is found
    assert build(MODELS, dict(type="tpavi", model=model)).model is model
    assert build(MODELS, dict(type="callable", function=bright)).model is bright


def test_a_model_of_no_family_gets_the_list_of_adapters():
    with pytest.raises(AdapterError, match='TPAVIBackend.*backend="tpavi".*Write an adapter'):
        find_backend(nn.Linear(2, 2))


def test_a_function_must_be_named_as_one():
    with pytest.raises(AdapterError, match='bright.*backend="callable"'):
        find_backend(bright)
    assert find_backend(bright, "callable", num_classes=2).num_classes == 2


def test_a_class_instead_of_an_instance_is_refused():
    with pytest.raises(AdapterError, match="recognises class TPAVI .pass an instance."):
        find_backend(stand_ins.TPAVI)


def test_a_model_that_two_adapters_accept_is_refused():
    model = stand_ins.TPAVI()
    model.backbone, model.vggish, model.head = nn.Identity(), nn.Identity(), nn.Identity()
    model.audio_proj, model.T, model.head.num_classes = nn.Identity(), 5, 1
    with pytest.raises(AdapterError, match="AVSegFormerBackend and TPAVIBackend"):
        find_backend(model)


def test_what_names_no_adapter_is_refused():
    with pytest.raises(UnknownNameError, match="'tpavy'.*tpavi"):
        find_backend(stand_ins.TPAVI(), "tpavy")
    with pytest.raises(AdapterError, match="Expected backend to be 'auto'"):
        find_backend(stand_ins.TPAVI(), 3)
    with pytest.raises(AdapterError, match="not built like CATR"):
        find_backend(stand_ins.TPAVI(), "catr")
    with pytest.raises(AdapterError, match="options.*'colour'"):
        find_backend(stand_ins.TPAVI(), "tpavi", colour="red")
    with pytest.raises(AdapterError, match="no effect"):
        find_backend(find_backend(stand_ins.TPAVI()), context="frame")


def test_cuda_calls_stay_on_the_models_device():
    original = nn.Module.cuda
    with cuda_calls_stay("cpu"), cuda_calls_stay("cpu"):
        assert torch.ones(2).cuda().device.type == "cpu"
        assert nn.Parameter(torch.ones(2)).cuda(0).device.type == "cpu"
        module = nn.Linear(2, 2)
        assert module.cuda() is module
    assert nn.Module.cuda is original
    assert "cuda" not in vars(torch.Tensor)


def test_the_innermost_device_counts():
    with cuda_calls_stay("cpu"):
        with cuda_calls_stay("meta"):
            assert torch.ones(2).cuda().device.type == "meta"
        assert torch.ones(2).cuda().device.type == "cpu"


def test_torch_is_restored_after_an_error():
    def fail():
        with cuda_calls_stay("cpu"):
            raise KeyError

    pytest.raises(KeyError, fail)
    assert "cuda" not in vars(torch.Tensor)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here .cuda() works")
def test_other_threads_keep_the_original_cuda():
    errors = []

    def elsewhere():
        try:
            torch.ones(1).cuda()
        except (RuntimeError, AssertionError) as error:
            errors.append(error)

    with cuda_calls_stay("cpu"):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(errors) == 1


def test_many_threads_can_borrow_at_once():
    backend = find_backend(stand_ins.TPAVI(), context="frame", input_size=32)
    clip = Clip(torch.rand(5, 3, 32, 32), audio_embedding=torch.rand(5, 128))
    expected = backend.segment_keyframes(clip, [0, 1])
    results = []

    def work():
        results.extend(backend.segment_keyframes(clip, [0, 1]) for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    assert all(torch.equal(result, expected) for result in results)
    assert "cuda" not in vars(torch.Tensor)
    assert "tpavi_va" not in vars(backend.model)


def test_a_lent_model_comes_back_after_an_error():
    model = nn.Sequential(nn.Dropout(), nn.Dropout().eval())

    def fail():
        with borrow_model(model), attributes(model, extra=1):
            assert not model[0].training
            assert not torch.is_grad_enabled()
            raise KeyError

    pytest.raises(KeyError, fail)
    assert [m.training for m in model] == [True, False]
    assert not hasattr(model, "extra")
    assert torch.is_grad_enabled()
