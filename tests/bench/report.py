"""Results as text, JSON and a picture."""

import json
from xml.sax.saxutils import escape

from logstream import LogStream


def _at_least(case, field, least, unit, third_of=None):
    """With `third_of` the share of that limit of the machine stands beside, which three brokers have to divide."""

    def judge(results):
        if field not in results.get(case, {}):
            return None
        value = results[case][field]
        whole = results.get("limits", {}).get(third_of)
        beside = f" ({100 * value / (whole / 3):.0f} % of a writer beside two others)" if whole else ""
        return f"{value:,.0f} {unit}{beside}", value >= least

    return f">= {least:,} {unit}", judge


def _at_most(case, field, most, unit):
    def judge(results):
        if field in results.get(case, {}):
            value = results[case][field]
            if isinstance(value, list):
                return ", ".join(f"{each:g}" for each in value) + f" {unit}", max(value) <= most
            return f"{value:g} {unit}", value <= most
        return None

    return f"<= {most} {unit}", judge


def _latency(case, field, p50, p99=None, beyond=None):
    """With `beyond` p50 is over that limit of the machine, which the same run has measured: a flush of its disk."""

    def judge(results):
        flush = results.get("limits", {}).get(beyond, {}).get("p50") if beyond else 0
        if field not in results.get(case, {}):
            return None
        us = results[case][field]
        over = f" (flush {flush:.0f})" if flush else ""
        ok = None if flush is None else us["p50"] <= flush + p50 and (p99 is None or us["p99"] <= p99)
        return f"{us['p50']} / {us['p99']} µs{over}", ok

    goal = f"flush + {p50}" if beyond else f"{p50}"
    return f"<= {goal}{'' if p99 is None else f' / {p99}'} µs", judge


def _told(case, field, unit):
    def judge(results):
        if field not in results.get(case, {}):
            return None
        value = results[case][field]
        if isinstance(value, dict):
            return f"median {value['median']:.0f}, worst {value['worst']:.0f} {unit}", None
        return f"{', '.join(f'{each:.0f}' for each in value)} {unit}", None

    return "", judge


def _share(case, whole, field, least):
    def judge(results):
        if field not in results.get(case, {}) or not results.get(whole, {}).get(field):
            return None
        share = results[case][field] / results[whole][field]
        return f"{100 * share:.0f} % of {whole}", share >= least

    return f">= {100 * least:.0f} % of {whole}", judge


_GOALS = [
    ("100-byte records, quorum, flushed", _at_least("100B", "records_per_s", 2_000_000, "records/s")),
    ("1 KiB records", _at_least("1KiB", "mb_per_s", 400, "MB/s", third_of="three_writers_mb_per_s")),
    ("one in flight, fsync: never, p50 / p99", _latency("one-in-flight-unflushed", "ack_us", 110, 250)),
    ("one in flight, flushed, p50 / p99", _latency("one-in-flight", "ack_us", 110, beyond="flush_append_us")),
    (
        "1,000/s, producer to consumer, p50 / p99",
        _latency("end-to-end", "deliver_us", 150, 1000, beyond="flush_append_paced_us"),
    ),
    ("read back from memory", _at_least("read-back", "consumed_mb_per_s", 1200, "MB/s")),
    ("owner's bytes per payload byte, 2 followers", _at_most("wire-2", "wire_per_payload_byte", 1.08, "")),
    ("4 followers", _at_most("wire-4", "wire_per_payload_byte", 1.08, "")),
    ("6 followers", _at_most("wire-6", "wire_per_payload_byte", 1.08, "")),
    ("brokers' CPU per million 100-byte records", _at_most("100B", "server_cpu_s_per_million", 0.7, "s")),
    ("gap after kill -9 of the leader", _told("gap-kill-leader", "gap_ms", "ms")),
    ("of the owner", _told("gap-kill-owner", "gap_ms", "ms")),
    ("of a follower", _told("gap-kill-follower", "gap_ms", "ms")),
    ("after the owner is cut off", _told("gap-cut", "gap_ms", "ms")),
    ("after SIGTERM to the owner", _told("gap-terminate", "gap_ms", "ms")),
    ("resident memory of each broker under load", _at_most("100B", "server_resident_mib", 128, "MiB")),
    ("in each of ten minutes of it", _at_most("steady", "resident_mib_by_minute", 128, "MiB")),
    ("10,000 topics, 1,000 written to", _share("many-topics", "100B", "records_per_s", 0.7)),
    ("start with 10 GB after a clean stop", _at_most("start-clean", "start_s", 2, "s")),
    ("start with 10 GB after kill -9", _at_most("start-killed", "start_s", 10, "s")),
    ("frozen in a view change, 1,000 topics", _told("view-change", "frozen_ms", "ms")),
]


def _goals(by_name):
    for what, (goal, judge) in _GOALS:
        judged = judge(by_name)
        if judged:
            measured, reached = judged
            yield what, goal.strip(), measured.strip(), {True: "yes", False: "no", None: ""}[reached]


def _table(head, rows, left=1):
    """Columns as wide as they need to be; the first `left` begin at the left."""
    lines = [head, *rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    for line in lines:
        yield "  ".join(
            cell.ljust(width) if i < left else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))
        ).rstrip()


def _us(result, field, quantile):
    latency = result.get(field) or {}
    return f"{latency[quantile]:,.0f}" if latency.get("max") else ""


def _load_row(result):
    return [
        result["case"],
        f"{result['records_per_s']:,.0f}" if result["records_per_s"] else "",
        f"{result['mb_per_s'] or result.get('consumed_mb_per_s', 0):,.1f}",
        *(_us(result, "ack_us", quantile) for quantile in ("p50", "p99", "max")),
        *(_us(result, "deliver_us", quantile) for quantile in ("p50", "p99")),
        f"{result.get('server_cpu_s_per_million', '')}",
        f"{max(result.get('server_resident_mib', [0])):.0f}" if "server_resident_mib" in result else "",
    ]


_LOAD_HEAD = ["case", "records/s", "MB/s", "ack p50", "p99", "max µs", "read p50", "p99 µs", "CPU s/million", "MiB"]


def _durability(results):
    """What an acknowledgement is worth: [(system, text)]; empty when nothing stands beside LogStream."""
    told = {result["system"]: result["durability"] for result in results if "durability" in result}
    return [("logstream", LogStream.durability), *told.items()] if told else []


def _limit(figure):
    return f"p50 {figure['p50']:,.1f}, p99 {figure['p99']:,.1f}" if isinstance(figure, dict) else f"{figure:,.1f}"


_RATES = ("mb_per_s", "items_per_s")


def text(results):
    good = [result for result in results if "error" not in result]
    by_name = {result["case"]: result for result in good}
    parts = []
    loads = [_load_row(result) for result in good if "records_per_s" in result]
    if loads:
        parts.append(list(_table(_LOAD_HEAD, loads)))
    goals = list(_goals(by_name))
    if goals:
        parts.append(list(_table(["what", "goal", "measured", "reached"], goals, left=4)))
    limits = [by_name[case] for case in ("limits", "limits-again") if case in by_name]
    if limits:
        told = [
            [name, *(_limit(figures[name]) for figures in limits)]
            for name, figure in limits[0].items()
            if not isinstance(figure, str)
        ]
        parts.append(list(_table(["limit of this machine", "", "by then"][: 1 + len(limits)], told, left=3)))
    if "parts" in by_name:
        rows = [
            [name, f"{part['ns']:,.0f}", *(f"{part[rate]:,.0f}" if part[rate] else "" for rate in _RATES)]
            for name, part in by_name["parts"]["parts"].items()
        ]
        parts.append(list(_table(["part", "ns", "MB/s", "items/s"], rows)))
    durability = _durability(good)
    if durability:
        parts.append(["An acknowledged record is:", *_table(durability[0], durability[1:], left=2)])
    failed = [f"{result['case']} was not measured: {result['error']}" for result in results if "error" in result]
    if failed:
        parts.append(failed)
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def line(result):
    """A result in short, for those who wait."""
    if "error" in result:
        return f"{result['case']}: {result['error']}"
    if "records_per_s" in result:
        row = dict(zip(_LOAD_HEAD, _load_row(result)))
        waited = f", acknowledged after {row['ack p50']} µs" if row["ack p50"] else ""
        return f"{result['case']}: {row['records/s'] or 0} records/s, {row['MB/s']} MB/s{waited}"
    return f"{result['case']}: {json.dumps({k: v for k, v in result.items() if k not in ('case', 'what')})}"


def as_json(results):
    return "[" + ",\n".join(json.dumps(result, ensure_ascii=False) for result in results) + "]\n"


_COLOURS = {"logstream": "#1f6feb"}
_OTHER = "#8b949e"
_BAR, _LEFT, _WIDTH = 18, 190, 420


def _panel(title, bars):
    """Horizontal bars: [(label, value, colour)]; its lines of SVG and its height."""
    lines = [f'<text x="0" y="14" class="title">{escape(title)}</text>']
    most = max(value for _, value, _ in bars)
    for i, (label, value, colour) in enumerate(bars):
        y = 26 + i * (_BAR + 4)
        width = max(1, round(_WIDTH * value / most))
        lines.append(f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(label)}</text>')
        lines.append(f'<rect x="{_LEFT}" y="{y}" width="{width}" height="{_BAR}" fill="{colour}"/>')
        lines.append(f'<text x="{_LEFT + width + 6}" y="{y + 13}">{value:,.0f}</text>')
    return lines, 26 + len(bars) * (_BAR + 4) + 20


def _bars(results, case, pick):
    for result in results:
        system, _, name = result["case"].rpartition("/")
        if name == case and "error" not in result and pick(result):
            system = system or "logstream"
            yield system, pick(result), _COLOURS.get(system, _OTHER)


def _quantiles(results, case, field):
    for quantile in ("p50", "p99"):
        for system, value, colour in _bars(results, case, lambda result: (result.get(field) or {}).get(quantile)):
            yield f"{system} {quantile}", value, colour


def plot(results):
    panels = [
        ("100-byte records: records/s", _bars(results, "100B", lambda result: result["records_per_s"])),
        ("1 KiB records: MB/s", _bars(results, "1KiB", lambda result: result["mb_per_s"])),
        ("one record in flight: µs to the acknowledgement", _quantiles(results, "one-in-flight", "ack_us")),
        ("1,000 records/s: µs from producer to consumer", _quantiles(results, "end-to-end", "deliver_us")),
    ]
    y, body = 20, []
    for title, bars in panels:
        bars = list(bars)
        if bars:
            lines, height = _panel(title, bars)
            body += [f'<g transform="translate(20,{y})">', *lines, "</g>"]
            y += height
    for system, durability in _durability(results):
        body.append(f'<text x="20" y="{y}">{escape(system)}: {escape(durability)}</text>')
        y += 18
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + 140}" height="{y}">',
            "<style>text { font: 12px sans-serif } .title { font-weight: bold }</style>",
            '<rect width="100%" height="100%" fill="white"/>',
            *body,
            "</svg>\n",
        ]
    )
