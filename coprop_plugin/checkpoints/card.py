"""The model card of a network: what it is, how to load it, and its scores."""

import inspect
import json
import math
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from torch import nn

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

_TEMPLATE = """---
{{ card_data }}
---

# {{ name }}

{{ purpose }} Weights of `{{ kind }}`, a part of Co-Prop: {{ parameters }} parameters.

{{ description }}

```python
from {{ module }} import {{ kind }}

network = {{ kind }}.from_pretrained("{{ place }}")
```

## Scores

{{ scores }}

## Config

```json
{{ config }}
```
"""


def model_card(
    network: nn.Module,
    place: str,
    metrics: Mapping[str, Any] | None = None,
    dataset: str = "",
    description: str = "",
    license: str | None = None,
) -> "ModelCard":
    """Return a model card for the hub.

    Args:
        network: With its constructor arguments in `config`.
        place: Its folder, or its id on the hub.
        metrics: Scores by name.
        dataset: The data that they were measured on.
        description: A paragraph or more, in Markdown.
        license: Of the weights.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    name, metrics = PurePath(place).name, dict(metrics or {})
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
    return ModelCard.from_template(
        data,
        template_str=_TEMPLATE,
        name=name,
        purpose=(inspect.getdoc(network) or "").partition("\n")[0],
        kind=type(network).__name__,
        module=type(network).__module__,
        parameters=f"{sum(p.numel() for p in network.parameters()):,}",
        description=description or "No training description was provided.",
        place=place,
        scores=_table(metrics, dataset) if metrics else "No scores were provided.",
        config=json.dumps(network.config, indent=2),
    )


def _table(metrics: Mapping[str, Any], dataset: str) -> str:
    rows = [("score", "value"), ("---", "---:")]
    for name, value in metrics.items():
        rows.append((name, f"{value:.4f}" if isinstance(value, float) else str(value)))
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join([f"On {dataset or 'unnamed data'}:", "", *lines])
