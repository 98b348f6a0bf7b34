"""A bar chart as SVG, readable on light and dark pages, without fonts or scripts from elsewhere."""

from xml.sax.saxutils import escape

from . import report

WIDTH, COLUMNS, GAP, NAME, NUMBER = 880, 2, 32, 120, 64
BAR, STEP, HEAD, TOP, BOTTOM = 14, 20, 30, 58, 28
STYLE = """
text { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.row { font-weight: 600 }
.soft { fill: #59636e }
.peer { fill: #9aa4ae }
.ours { fill: #0969da }
.floor { fill: none; stroke: #59636e; stroke-dasharray: 3 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .soft { fill: #9198a1 }
  .peer { fill: #656c76 }
  .ours { fill: #4493f8 }
  .floor { stroke: #9198a1 }
}
"""


def panel(row, x, y, width):
    """Bars of one row, the shortest first. @return (elements, height)"""
    value = "bytes" if row["load"] == "memory" else "cpu_us"
    bars = sorted(((figures[value], name) for name, figures in row["servers"].items()))
    longest = max((length for length, _ in bars), default=0) or 1
    room, out = width - NAME - NUMBER, [f'<text class="row" x="{x}" y="{y + 12}">{escape(row["title"])}</text>']
    for i, (length, name) in enumerate(bars):
        at = y + HEAD + i * STEP - 8
        kind = name if name in ("ours", "floor") else "peer"
        form = ",.0f" if value == "bytes" or length >= 100 else ".1f"
        unit = " B" if value == "bytes" else " µs"
        wide = max(1.0, length / longest * room)
        out.append(f'<text x="{x + NAME - 8}" y="{at + 11}" text-anchor="end">{escape(report.title(name))}</text>'
                   f'<rect class="{kind}" x="{x + NAME}" y="{at}" width="{wide:.1f}" height="{BAR}" rx="2"/>'
                   f'<text class="soft" x="{x + NAME + wide + 6:.1f}" y="{at + 11}">{format(length, form)}{unit}'
                   '</text>')
    return out, HEAD + len(bars) * STEP + 8


def svg(results, footer):
    """The chart of the rows that more than one server was measured in. @param footer one line below it"""
    rows = [row for row in results.values() if not row["against"] and len(row["servers"]) > 1]
    width, heights, body = (WIDTH - (COLUMNS + 1) * GAP) // COLUMNS, [TOP] * COLUMNS, []
    for row in rows:
        column = heights.index(min(heights))
        elements, height = panel(row, GAP + column * (width + GAP), heights[column], width)
        body += elements
        heights[column] += height + 14
    total = max(heights) + BOTTOM
    floor = any("floor" in row["servers"] for row in rows)
    below = "Shorter is better." + (" Dashed: the floor, which does epoll_wait, recv and send only." if floor else "")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" '
        'role="img" aria-labelledby="title">',
        '<title id="title">CPU time per request of web servers, and memory per idle connection</title>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="{GAP}" y="26">Server CPU time per request, log program included</text>',
        f'<text class="soft" x="{GAP}" y="44">{escape(below)}</text>',
        *body,
        f'<text class="soft" x="{GAP}" y="{total - 12}">{escape(footer)}</text>',
        "</svg>"]) + "\n"
