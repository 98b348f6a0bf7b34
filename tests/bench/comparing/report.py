"""Tables and goals from measured rows. Ratios are those of the medians: of a round's own they would compare moments
that are seconds apart, which on a busy machine says more of the neighbours than of the servers."""

from . import servers
from .measuring import OFF
from .rows import GOALS

UNITS = {"cpu_us": "CPU per request", "rps": "requests/s", "p99_us": "p99", "bytes": "bytes per connection"}


def best_peer(row, value):
    """Name of the peer with the best median; None: no peer was measured."""
    peers = {name: figures[value] for name, figures in row["servers"].items()
             if name in servers.PEERS and figures.get(value) is not None}
    if not peers:
        return None
    return (max if value == "rps" else min)(peers, key=peers.get)


def ratio(row, name, value, over):
    """(ratio of `name` to "best peer", "floor" or "log off", what that was); (None, None) when there is none."""
    measured = row["servers"]
    other = best_peer(row, value) if over == "best peer" else name + OFF if over == "log off" else over
    if name not in measured or other not in measured:
        return None, None
    ours, others = measured[name].get(value), measured[other].get(value)
    return (ours / others if ours is not None and others else None), other


def judge(results, name="ours"):
    """[{"row", "title", "goal", "value", "verdict": "met", "missed" or "not measured"}] of every goal whose row ran."""
    out = []
    for goal in GOALS:
        row = results.get(goal.row)
        if row is None:
            continue
        if goal.over:
            value, other = ratio(row, name, goal.value, goal.over)
        else:
            value, other = row["servers"].get(name, {}).get(goal.value), None
        least = goal.least is not None
        limit = goal.least if least else goal.most
        text = f"{UNITS[goal.value]} {'at least' if least else 'at most'} "
        text += f"{limit:.2f} of {goal.over}" if goal.over else f"{limit:,}"
        good = value is not None and (value >= limit if least else value <= limit)
        out.append({"row": goal.row, "title": row["title"], "goal": text, "value": value, "against": other,
                    "verdict": "not measured" if value is None else "met" if good else "missed"})
    return out


def number(value, form, missing="-"):
    return missing if value is None else format(value, form)


def milliseconds(us):
    return number(us and us / 1000, ".2f")


def table(row):
    """Lines of one row of the comparison: a line a server, the best first."""
    measured, lines = row["servers"], ["", row["title"]]
    if not any(row["servers"].values()) and not row["left_out"]:
        return lines
    memory = row["load"] == "memory"
    value, over = "bytes" if memory else "cpu_us", "log off" if row["against"] else "best peer"
    order = sorted(measured, key=lambda name: measured[name][value])
    if memory and measured:
        lines.append(f"  {'':28}{'bytes per connection':>22}{'x best peer':>13}")
    elif measured:
        lines.append(f"  {'':28}{'CPU us':>9}{'of it log':>11}{'x ' + over:>13}{'x floor':>9}{'requests/s':>12}"
                     f"{'p50 ms':>9}{'p99 ms':>9}{'errors':>8}{'calls':>8}")
    for name in order:
        f = measured[name]
        own, label = name.partition(",")[0], title(name)
        to_other = ratio(row, name, value, over)[0] if own != "floor" else None
        if memory:
            lines.append(f"  {label:28}{f['bytes']:>22,.0f}{number(to_other, '.2f'):>13}")
            continue
        calls = (f.get("calls") or {}).get("total")
        lines.append(
            f"  {label:28}{f['cpu_us']:>9.2f}{f['log_us']:>11.2f}{number(to_other, '.2f'):>13}"
            f"{number(ratio(row, name, value, 'floor')[0], '.2f'):>9}{f['rps']:>12,.0f}"
            f"{milliseconds(f['p50_us']):>9}{milliseconds(f['p99_us']):>9}"
            f"{f['errors']:>8}{number(calls, '.2f'):>8}")
        if "resumed" in f and f["resumed"] < f["requests"] * 0.99:
            lines.append(f"  {'':28}only {f['resumed']} of {f['requests']} handshakes were resumed")
    for name, f in measured.items():
        if name.startswith("ours") and f.get("calls"):  # of the others in the JSON
            said = ", ".join(f"{call} {count:.2f}" for call, count in f["calls"]["by_name"].items() if count >= 0.01)
            lines.append(f"  calls of {title(name)}: {said}")
    for name, why in row["left_out"].items():
        if not (name == "floor" or (name == "haproxy" and row["variant"] != "proxy")):
            lines.append(f"  {title(name)}: " + why.replace("\n", "\n    "))
    return lines


def title(label):
    name, _, rest = label.partition(",")
    return servers.ALL[name].title + ("," + rest if rest else "")


def goal_lines(judged):
    if not judged:
        return []
    lines = ["", "Goals"]
    for goal in judged:
        value = number(goal["value"], ",.0f" if goal["against"] is None else ".2f")
        against = f" ({title(goal['against'])})" if goal["against"] in servers.PEERS else ""
        lines.append(f"  {goal['verdict']:13}{goal['row']:15}{goal['goal']:48} {value}{against}")
    return lines
