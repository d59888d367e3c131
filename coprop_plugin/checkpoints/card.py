"""The card of a network: what it is, how to load it, what it scored."""

import inspect
import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from torch import nn

_CARD = """---
{header}
---

# {name}

{purpose} Weights of `{kind}`, a part of Co-Prop: {parameters:,} parameters.

{description}

```python
from {module} import {kind}

network = {kind}.from_pretrained("{place}")
```

## Scores

{scores}

## Config

```json
{config}
```
"""


def model_card(
    network: nn.Module,
    place: str,
    metrics: Mapping[str, Any] | None = None,
    dataset: str = "",
    description: str = "",
    license: str | None = None,
) -> str:
    """Return a model card in Markdown, headed by what the hub reads.

    Args:
        network: With its constructor arguments in `config`.
        place: Its folder, or its id on the hub.
        metrics: Scores by name.
        dataset: What they were measured on.
        description: A paragraph or more, in Markdown.
        license: Of the weights.
    """
    name, metrics = PurePath(place).name, dict(metrics or {})
    return _CARD.format(
        header=_header(name, metrics, dataset, license),
        name=name,
        purpose=(inspect.getdoc(network) or "").partition("\n")[0],
        kind=type(network).__name__,
        module=type(network).__module__,
        parameters=sum(p.numel() for p in network.parameters()),
        description=description or "Nobody has described how it was trained.",
        place=place,
        scores=_table(metrics, dataset) if metrics else "None are known.",
        config=json.dumps(network.config, indent=2),
    )


def _header(name: str, metrics: Mapping[str, Any], dataset: str, license: str | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="audio-visual-segmentation",
            dataset_type=re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-") or "unknown",
            dataset_name=dataset or "unknown",
            metric_type=metric,
            metric_value=float(value),
        )
        for metric, value in metrics.items()
        if isinstance(value, int | float) and math.isfinite(value)
    ]
    data = ModelCardData(
        library_name="coprop_plugin",
        license=license,
        tags=["audio-visual-segmentation", "co-prop"],
        model_name=name,
        eval_results=results,
    )
    return data.to_yaml()


def _table(metrics: Mapping[str, Any], dataset: str) -> str:
    rows = [("score", "value"), ("---", "---:")]
    for name, value in metrics.items():
        rows.append((name, f"{value:.4f}" if isinstance(value, float) else str(value)))
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"On {dataset or 'data that was not named'}:", "", *lines])
