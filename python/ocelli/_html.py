"""Values as HTML, for notebooks. Everything is inline, and in colours that suit light and dark pages."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ocelli import _ocelli
from ocelli._text import number

if TYPE_CHECKING:
    from ocelli._data import ImageData
    from ocelli._predictions import Gallery, Interpretation, Prediction
    from ocelli._records import EpochRecord

_SIDE = 112
"""The longer side of a thumbnail in pixels."""
_PER_CLASS = 4
_CLASSES = 8
_COLOURS = ("#3b7dd8", "#e07b39", "#3a9d5d")


def _text(value: Any) -> str:
    return html.escape(number(value))


def table(rows: Iterable[Mapping[str, Any]]) -> str:
    """A table with a row of names."""
    rows = list(rows)
    if not rows:
        return "<p>(empty)</p>"
    columns = list(rows[0])
    sides = [
        "right" if any(isinstance(row.get(name), (int, float)) for row in rows) else "left" for name in columns
    ]
    head = "".join(f"<th style='text-align:{side}'>{_text(name)}</th>" for name, side in zip(columns, sides))
    lines = []
    for row in rows:
        cells = zip((row.get(name) for name in columns), sides)
        lines.append("".join(f"<td style='text-align:{side}'>{_text(value)}</td>" for value, side in cells))
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def figure(svg: str, caption: str = "") -> str:
    """A drawing with a caption. It stands on white: its ink is dark."""
    text = f"<figcaption>{_text(caption)}</figcaption>" if caption else ""
    return f"<figure style='margin:0;max-width:720px'><div style='background:#fff'>{svg}</div>{text}</figure>"


def framed(page: str) -> str:
    """A whole page inside the notebook. It runs apart from the notebook, and cannot change it."""
    return (
        f"<iframe srcdoc=\"{html.escape(page)}\" sandbox='allow-scripts allow-popups' title='Ocelli' "
        "style='width:100%;height:640px;border:1px solid #8888'></iframe>"
    )


def progress(bar: tuple[str, int, int] | None, epochs: Sequence[Mapping[str, Any]], lines: Sequence[str]) -> str:
    """The bar and the table of a call under way."""
    parts = [f"<div>{_text(line)}</div>" for line in lines]
    if epochs:
        parts.append(table(epochs))
    if bar is not None:
        activity, done, total = bar
        parts.append(
            f"<div><progress value='{done}' max='{max(total, 1)}'></progress> {_text(activity)} {done} of {total}</div>"
        )
    return "".join(parts)


def _curve(title: str, lines: Mapping[str, Sequence[float | None]]) -> str:
    """A small line chart over the epochs."""
    width, height, left, top, bottom = 340, 180, 46, 22, 22
    values = [value for line in lines.values() for value in line if value is not None and value == value]
    if not values:
        return ""
    lowest, highest = min(values), max(values)
    # A line without change is drawn in the middle.
    low, high = (lowest, highest) if highest > lowest else (lowest - 0.5, highest + 0.5)
    span = high - low
    count = max(len(line) for line in lines.values())

    def x(index: int) -> float:
        return left + (width - left - 10) * (index / max(count - 1, 1))

    def y(value: float) -> float:
        return top + (height - top - bottom) * (1 - (value - low) / span)

    parts = [
        f"<svg width='{width}' height='{height}' role='img' aria-label='{html.escape(title)}' font-size='11' "
        "fill='currentColor' style='font-family:sans-serif'>",
        *(
            f"<text x='{left - 4}' y='{y(value) + 4}' text-anchor='end'>{value:.3g}</text>"
            for value in sorted({lowest, highest})
        ),
        f"<text x='{left}' y='{height - 6}'>1</text>",
        f"<text x='{width - 10}' y='{height - 6}' text-anchor='end'>{count}</text>",
        f"<path d='M{left} {top}V{height - bottom}H{width - 10}' fill='none' stroke='currentColor' opacity='.4'/>",
    ]
    for number_, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number_ % len(_COLOURS)]
        at = [(x(index), y(value)) for index, value in enumerate(line) if value is not None and value == value]
        points = " ".join(f"{px:.1f},{py:.1f}" for px, py in at)
        parts.append(f"<polyline points='{points}' fill='none' stroke='{colour}' stroke-width='2'/>")
        parts += [f"<circle cx='{px:.1f}' cy='{py:.1f}' r='2.5' fill='{colour}'/>" for px, py in at]
        parts.append(f"<text x='{left + 8 + 100 * number_}' y='14' fill='{colour}'>{html.escape(name)}</text>")
    return "".join(parts) + "</svg>"


def history(records: Sequence[EpochRecord], with_table: bool = True) -> str:
    """Curves of losses and accuracy, and the table."""
    from ocelli._records import _shown

    if not records:
        return "<p>no epochs</p>"
    losses: dict[str, list[float | None]] = {"train loss": [each.train_loss for each in records]}
    charts = ""
    if any(each.valid_loss is not None for each in records):
        losses["valid loss"] = [each.valid_loss for each in records]
    charts += _curve("losses by epoch", losses)
    if any(each.accuracy is not None for each in records):
        charts += _curve("accuracy by epoch", {"accuracy": [each.accuracy for each in records]})
    return f"<div>{charts}</div>" + (table(_shown(records)) if with_table else "")


def _pictures(paths: Sequence[Any]) -> list[str]:
    """Thumbnails as `data:` addresses; empty where a file cannot be read."""
    return [picture or "" for picture in _ocelli.thumbnails(list(paths), _SIDE)]


def _tile(picture: str, caption: str) -> str:
    # Captions of a row stand at one height.
    style = f"width:{_SIDE}px;height:{_SIDE}px;object-fit:contain;object-position:0 100%"
    image = f"<img src='{picture}' alt='' style='{style}'>" if picture else "(unreadable)"
    return (
        f"<figure style='display:inline-block;vertical-align:top;width:{_SIDE}px;margin:4px;font-size:11px;"
        f"overflow-wrap:anywhere'>{image}<figcaption>{caption}</figcaption></figure>"
    )


def gallery(images: Gallery) -> str:
    """Photos with true and predicted classes."""
    captions = [
        f"{_text(', '.join(each.truth))} → {_text(', '.join(each.predicted) or 'no class')}<br>"
        f"loss {each.loss:.3f}, p {each.probability:.3f}"
        for each in images
    ]
    tiles = zip(_pictures([each.path for each in images]), captions)
    return "<div>" + "".join(_tile(*tile) for tile in tiles) + "</div>"


def data(images: ImageData) -> str:
    """A few photos of each class with their labels, and the counts."""
    from ocelli._arrays import Table

    counts = images.class_counts()
    chosen = []
    for count in counts[:_CLASSES]:
        of_class = [item for item in images.items("train") if count.class_name in item.labels]
        chosen += of_class[:_PER_CLASS]
    pictures = _pictures([item.path for item in chosen])
    tiles = "".join(_tile(picture, _text(", ".join(item.labels))) for picture, item in zip(pictures, chosen))
    shown = Table(each._asdict() for each in counts[:50])
    more = f"<p>and {len(counts) - 50} more classes</p>" if len(counts) > 50 else ""
    notices = "".join(f"<p>note: {_text(notice)}</p>" for notice in images.notices)
    return f"<div>{tiles}</div>{table(shown)}{more}{notices}"


def prediction(found: Prediction) -> str:
    """The most probable classes with bars, and the photo if it is a file."""
    rows = "".join(
        f"<tr><td style='text-align:left'>{_text(name)}</td><td><meter value='{probability:.4f}'></meter></td>"
        f"<td>{probability:.3f}</td></tr>"
        for name, probability in found.top_k(5)
    )
    picture = _pictures([found.path])[0] if found.path is not None else ""
    image = f"<img src='{picture}' alt='' style='max-height:{_SIDE}px;vertical-align:middle'>" if picture else ""
    return f"<div>{image}<table style='display:inline-table'>{rows}</table></div>"


def interpretation(found: Interpretation) -> str:
    """The confusion matrix, the classes, and the photos with the highest losses."""
    predictions = found.predictions
    parts = [f"<p>{_text(repr(predictions))}</p>"]
    if not predictions._named.is_multi_label:
        parts.append(found.confusion_matrix()._repr_html_())
    parts += [found.per_class()._repr_html_(), found.top_losses(6)._repr_html_()]
    return "".join(parts)
