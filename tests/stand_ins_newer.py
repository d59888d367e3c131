"""Tiny modules with the exact call, return value and parts of models of 2023 to 2025.

As in `stand_ins`, nothing here is upstream's code: only what its adapter recognises a model by,
the order and the form of its arguments, and the traits that trap a caller: literal sizes, losses
that are random, frames one by one, devices that were noted when the model was built.
"""

from types import SimpleNamespace

import torch
from einops import rearrange
from torch import nn
from torch.nn.functional import interpolate

CHANNELS = 4


class _Processor:
    """Mask2Former's image processor, with the two methods that the released code adds."""

    def _classes(self, outputs, size):
        masks = interpolate(outputs.masks_queries_logits, (384, 384), mode="bilinear").sigmoid()
        classes = outputs.class_queries_logits.softmax(-1)[..., :-1]
        return interpolate(torch.einsum("bqc,bqhw->bchw", classes, masks), size, mode="bilinear")

    def post_process_binary_segmentation(self, outputs, target_sizes=None):
        return list(self._classes(outputs, target_sizes[0]))

    def post_process_semantic_segmentation(self, outputs, target_sizes=None):
        return list(self._classes(outputs, target_sizes).argmax(1))


class _Queries(nn.Module):
    """Mask2Former with a prompt: masks of queries at a quarter of the input's size."""

    def __init__(self, num_classes, num_queries=3):
        super().__init__()
        self.queries = nn.Embedding(num_queries, CHANNELS)
        nn.init.normal_(self.queries.weight, std=3)
        self.pixels = nn.Conv2d(3, CHANNELS, 8, stride=8)
        nn.init.normal_(self.pixels.weight, std=0.3)
        self.class_predictor = nn.Linear(CHANNELS, num_classes + 1)
        nn.init.normal_(self.class_predictor.weight, std=3)
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def forward(
        self,
        pixel_values,
        prompt_features_projected=None,
        mask_labels=None,
        class_labels=None,
        pixel_mask=None,
        audio_boost_mask=None,
    ):
        self.calls.append(len(pixel_values))
        if pixel_mask.shape != pixel_values[:, 0].shape:
            raise RuntimeError("pixel_mask")
        pixels = self.drop(self.pixels(pixel_values))
        if audio_boost_mask is not None:
            pixels = pixels + 4 * interpolate(audio_boost_mask[:, None], pixels.shape[-2:])
        queries = self.queries.weight + rearrange(prompt_features_projected, "1 t c -> t 1 c")
        masks = torch.einsum("tqc,tchw->tqhw", queries, pixels)
        loss = None
        if mask_labels is not None:
            # It compares masks at random points.
            loss = torch.rand(1) + len(mask_labels) + len(class_labels)
        return SimpleNamespace(
            class_queries_logits=self.class_predictor(queries),
            masks_queries_logits=masks,
            loss=loss,
        )


class AAVS(nn.Module):
    """`forward(batch_data) -> (loss, masks)`: two scores per frame of one clip, 384 pixels."""

    num_classes = 2

    def __init__(self):
        super().__init__()
        self.image_processor = _Processor()
        self.model = _Queries(self.num_classes)
        self.audio_proj = nn.Sequential(nn.Linear(128, 8), nn.ReLU(), nn.Linear(8, CHANNELS))

    def inputs(self, batch_data):
        return dict(
            prompt_features_projected=self.audio_proj(
                batch_data["feat_aud"].cuda().view(1, -1, 128)
            ),
            pixel_values=batch_data["pixel_values"].squeeze().view(-1, 3, 384, 384).cuda(),
            pixel_mask=batch_data["pixel_mask"].squeeze().view(-1, 384, 384).cuda(),
            mask_labels=[x.cuda() for x in batch_data["mask_labels"]],
            class_labels=[x.cuda() for x in batch_data["class_labels"]],
        )

    def forward(self, batch_data):
        sizes = len(batch_data["mask_recs"]) * batch_data["image_size"]
        outputs = self.model(**self.inputs(batch_data))
        masks = self.image_processor.post_process_binary_segmentation(outputs, target_sizes=sizes)
        return outputs.loss, masks


class SteppingStones(AAVS):
    """`forward(batch_data) -> (loss, labels)`, with the masks of the first stage from files."""

    num_classes = 5

    def __init__(self):
        super().__init__()
        self.mask_path = "masks"

    def load_mask(self, vid, ver):
        raise FileNotFoundError(f"{self.mask_path}/{ver}/{vid}")

    def forward(self, batch_data):
        size = batch_data["image_size"][0]
        masks = self.load_mask(batch_data["vid"], batch_data["subsets"]).cuda()
        outputs = self.model(**self.inputs(batch_data), audio_boost_mask=masks)
        labels = self.image_processor.post_process_semantic_segmentation(outputs, target_sizes=size)
        return outputs.loss, labels


class _CAVPHead(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.classifier = nn.Conv2d(CHANNELS, num_classes, 1)
        self.last_conv = nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1)

    def forward(self, x):
        return self.classifier(self.last_conv(x))


class CAVP(nn.Module):
    """`forward(image, audio=None, ...) -> (logits, features, parts)`; by default for training."""

    def __init__(self, num_classes=71):
        super().__init__()
        self.backbone = nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.segment = nn.Module()
        self.segment.upsample = _CAVPHead(num_classes)
        self.cross_att = nn.Linear(CHANNELS, CHANNELS)
        self.visual_projector = nn.Linear(CHANNELS, CHANNELS)
        self.audio_backbone = nn.Linear(64, CHANNELS)
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def forward(
        self, image, audio=None, shuffle_info=None, ow_flag=False, eval_mode=False, audio_func=False
    ):
        self.calls.append(len(image))
        feature = self.backbone(image)
        if not eval_mode:
            feature = torch.cat([feature, feature])
        sound = rearrange(self.audio_backbone(audio.mean((1, 2))), "n c -> n c 1 1")
        fused = self.drop(feature) * (1 + sound)
        logits = interpolate(self.segment.upsample(fused), image.shape[-2:], mode="bilinear")
        return logits, fused, {"audio": sound, "visual": feature}


class _Sam(nn.Module):
    """Segment Anything's parts: pictures of a fixed size in, masks at a quarter of it out."""

    def __init__(self, side, prompted):
        super().__init__()
        self.image_encoder = nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.image_encoder.img_size = side
        self.mask_decoder = nn.Linear(128, CHANNELS)
        if prompted:
            self.prompt_encoder = nn.Identity()

    def postprocess_masks(self, masks, input_size, original_size):
        side = self.image_encoder.img_size
        masks = interpolate(masks, (side, side), mode="bilinear")
        masks = masks[..., : input_size[0], : input_size[1]]
        return interpolate(masks, tuple(original_size), mode="bilinear")


class GAVS(nn.Module):
    """`forward(batch_data, vid_temporal_mask_flag=None) -> (masks, scores, losses)`, lists."""

    def __init__(self, side=64):
        super().__init__()
        self.model_v, self.model_t = _Sam(side, prompted=True), None
        # As its script has it, on a machine without one, too.
        self.device = "cuda"
        self.config = {"device": "cuda", "loss": nn.BCEWithLogitsLoss(), "tune_v": 9}
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def decode_with_pmp(self, image_embed, audio_embed):
        if len(image_embed) > 1:
            raise RuntimeError("shape '[1, 4]' is invalid")
        prompt = rearrange(self.model_v.mask_decoder(audio_embed), "1 c -> 1 c 1 1")
        masks = (self.drop(image_embed.to(self.device)) * prompt).sum(1, keepdim=True)
        return masks, masks.sigmoid().mean().reshape(1, 1)

    def forward(self, batch_data, vid_temporal_mask_flag=None):
        img_recs, mask_recs, _, _, _, _ = batch_data
        self.calls.append(len(img_recs))
        masks, scores, losses = [], [], []
        for record, truth in zip(img_recs, mask_recs, strict=True):
            embedding = self.model_v.image_encoder(record.get("image"))
            low, iou = self.decode_with_pmp(embedding, record.get("audio"))
            sizes = record.get("input_size"), record.get("original_size")
            mask = self.model_v.postprocess_masks(low, *sizes).to(self.device)
            masks.append(mask)
            losses.append(self.config["loss"](mask.squeeze(), truth.squeeze()))
            scores.append(float(f"{iou.item():.2f}"))
        return masks, scores, losses


class SAMA(nn.Module):
    """`infer(input, spec) -> masks`; its `forward` is for training and takes nothing."""

    def __init__(self, side=64):
        super().__init__()
        sam = _Sam(side, prompted=False)
        self.image_encoder, self.inp_size = sam.image_encoder, side
        self.mask_decoder = nn.Linear(64, CHANNELS)
        self.audio_encoder = nn.Identity()
        self.device = torch.device("meta")
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def forward(self):
        raise RuntimeError("set_input")

    def infer(self, input, spec):
        input, spec = input.to(self.device), spec.to(self.device)
        self.calls.append(len(input))
        self.features = self.drop(self.image_encoder(input))
        prompt = self.mask_decoder(self.audio_encoder(spec).mean((1, 2)))
        masks = (self.features * rearrange(prompt, "n c -> n c 1 1")).sum(1, keepdim=True)
        return interpolate(masks, (self.inp_size, self.inp_size), mode="bilinear")


class COMBO(nn.Module):
    """`forward(batched_inputs) -> [{"sem_seg": [C, H, W]}, ...]`; all frames share their sounds."""

    def __init__(self, num_classes=2, semantic=False, queries=4):
        super().__init__()
        self.backbone = nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.use_pre_sam, self.is_avss_data = True, semantic
        self.pre_sam_backbone = nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.audio_backbone = nn.Linear(64, CHANNELS)
        self.sem_seg_head = nn.Embedding(queries, CHANNELS)
        self.sem_seg_head.num_classes = num_classes
        self.classes = nn.Linear(CHANNELS, num_classes + 1)
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def sounds(self, sound):
        """[N, C] to [Q, N, C], reshaped in the wrong order."""
        queries = self.sem_seg_head.num_embeddings
        return sound[:, None].repeat(1, queries, 1).reshape(queries, len(sound), -1)

    def forward(self, batched_inputs):
        join = lambda name: torch.cat([entry[name] for entry in batched_inputs])  # noqa: E731
        images, pre_masks, log_mel = join("images"), join("pre_masks"), join("audio_log_mel")
        self.calls.append(len(images))
        flag = None
        if self.is_avss_data:
            flag, _ = join("vid_temporal_mask_flag"), join("gt_temporal_mask_flag")
            log_mel = log_mel[flag.bool()]
        sound = self.audio_backbone(log_mel.mean((1, 2)))
        pixels = self.backbone(images.float() / 255 - 0.5)
        pixels = self.drop(pixels + self.pre_sam_backbone(pre_masks.float() / 255 - 0.5))
        queries = rearrange(self.sem_seg_head.weight, "q c -> q 1 c") + self.sounds(sound)
        masks = torch.einsum("qnc,nchw->nqhw", queries, pixels).sigmoid()
        classes = self.classes(queries).softmax(-1)[..., :-1]
        scores = torch.einsum("qnk,nqhw->nkhw", classes, masks)
        outputs, clip = [], -1
        self.num_frames = per_clip = int(flag.sum()) if self.is_avss_data else 5
        for number, score in enumerate(scores):
            if number % per_clip == 0:
                clip += 1
                size = self.size_of(batched_inputs[clip])
            outputs.append({"sem_seg": interpolate(score[None], size, mode="bilinear")[0]})
        return outputs

    def size_of(self, entry):
        return entry["height"], entry["width"]


class VCT(COMBO):
    """As COMBO, with the sounds in order, a size of its own, and a class read for S4."""

    def __init__(self, num_classes=2, semantic=False):
        super().__init__(num_classes, semantic)
        self.is_s4_data, self.is_ms3_data = not semantic, False

    def sounds(self, sound):
        return sound[None].repeat(self.sem_seg_head.num_embeddings, 1, 1)

    def forward(self, batched_inputs):
        if self.is_s4_data:
            [entry["category_label"] for entry in batched_inputs]
        return super().forward(batched_inputs)

    def size_of(self, entry):
        return 224, 224


class AuralSAM2(nn.Module):
    """`forward(frames, spect, prompts, sam_process)`: frames share sounds and memory."""

    def __init__(self, side=32):
        super().__init__()
        self.param = SimpleNamespace(image_size=side)
        self.v_model = nn.Conv2d(3, CHANNELS, 4, stride=4)
        self.aural_fuser = nn.Linear(2 * 64, CHANNELS)
        self.multimasks = nn.Conv2d(CHANNELS, 3, 1)
        self.drop = nn.Dropout(0.5)
        self.calls = []

    def forward_frame(self, frame_):
        return self.v_model(frame_)

    def forward(self, frames, spect, prompts, sam_process=False):
        self.calls.append(len(frames))
        assert len(frames) > 1, "the released code squeezes a single frame away"
        pixels, sound = self.drop(self.v_model(frames)), self.aural_fuser(spect.mean(2).flatten(1))
        sound = sound + sound.mean(0)
        memory, outputs = torch.zeros(1, CHANNELS, 1, 1), []
        for t in range(len(frames)):
            fused = pixels[t : t + 1] * rearrange(sound[t], "c -> 1 c 1 1") + memory
            memory = fused.mean((2, 3), keepdim=True)
            masks = interpolate(self.multimasks(fused), frames.shape[-2:], mode="bilinear")
            outputs.append(
                {
                    "point_inputs": None,
                    "multistep_point_inputs": [None],
                    "multistep_pred_multimasks_high_res": [masks],
                    "multistep_pred_ious": [masks.mean((2, 3))],
                    "multistep_object_score_logits": [masks.mean((1, 2, 3))[:, None]],
                    "maskmem_pos_enc": [fused],
                }
            )
        return outputs, [[pixels] * 3, [sound[..., None]] * 3]
