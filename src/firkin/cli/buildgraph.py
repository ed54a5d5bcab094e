"""A build's steps as a picture: text, or SVG with the times on it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import buildview

_ROW, _LEFT, _WIDE, _BAR = 26, 12, 460, 420


def _mark(step: buildview.Step) -> str:
    if step.cached:
        return "cached"
    if step.error:
        return "failed"
    return f"{step.seconds:.1f}s" if step.ended else "not run"


def text(steps: dict[int, buildview.Step]) -> str:
    """One line a step, with the numbers of those that it needs."""
    lines = []
    for step in steps.values():
        needs = ", ".join(f"#{number}" for number in step.inputs)
        arrow = f"  <- {needs}" if needs else ""
        lines.append(f"#{step.number:<3} {_mark(step):>8}  {step.name}{arrow}")
    return "\n".join(lines) + "\n"


def svg(steps: dict[int, buildview.Step]) -> str:
    """Steps from top to bottom with what they need, and when each ran from left to right."""
    import html

    ran = [step for step in steps.values() if step.started]
    begin = min((step.started for step in ran), default=0.0)
    end = max((step.ended or step.started for step in ran), default=0.0)
    span = max(end - begin, 0.001)
    places = {number: at for at, number in enumerate(steps)}
    height = _ROW * len(steps) + 40
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDE + _BAR + 140}" '
        f'height="{height}" font-family="monospace" font-size="12">',
        f'<text x="{_LEFT}" y="18">{len(steps)} steps, {span:.1f} s</text>',
    ]
    for number, step in steps.items():
        y = 40 + places[number] * _ROW
        for needed in step.inputs:
            above = 40 + places[needed] * _ROW
            out.append(
                f'<path d="M {_LEFT - 4} {above} C {_LEFT - 14} {above}, {_LEFT - 14} {y}, '
                f'{_LEFT - 4} {y}" fill="none" stroke="#888"/>'
            )
        name = step.name if len(step.name) < 62 else step.name[:59] + "..."
        title = html.escape(step.name + (f"\n{step.why}" if step.why else ""))
        colour = "#c33" if step.error else "#7a7" if step.cached else "#37b"
        out.append(
            f'<text x="{_LEFT}" y="{y + 4}">{html.escape(name)}<title>{title}</title></text>'
        )
        left = float(_LEFT + _WIDE)
        if step.started:
            left += _BAR * (step.started - begin) / span
            width = max(2.0, _BAR * ((step.ended or end) - step.started) / span)
            out.append(
                f'<rect x="{left:.1f}" y="{y - 8}" width="{width:.1f}" height="16" '
                f'fill="{colour}"><title>{title}</title></rect>'
            )
            left += width
        out.append(f'<text x="{left + 6:.1f}" y="{y + 4}" fill="{colour}">{_mark(step)}</text>')
    out.append("</svg>")
    return "\n".join(out) + "\n"
