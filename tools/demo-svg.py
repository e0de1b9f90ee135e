#!/usr/bin/env python3
"""Turns a coloured terminal transcript into an SVG picture.

Usage: codectl --color always demo > demo.ansi; tools/demo-svg.py demo.ansi docs/demo.svg [1-9,20-41,...]
The ranges are the lines to show, from 1; a gap is shown as an ellipsis. Lines are not altered, but long ones are cut.
"""
import html
import re
import sys

COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "36": "#79c0ff", "2": "#8b949e", "1": "#ffffff"}
WIDTH, CHAR, LINE, PAD = 118, 7.8, 18, 18


def spans(line):
    """Yields (text, colour, bold) until WIDTH characters are used."""
    colour, bold, left = "#c9d1d9", False, WIDTH
    for part in re.split(r"(\x1b\[[0-9;]*m)", line):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if code:
            for number in (code.group(1) or "0").split(";"):
                if number in ("0", "39", "22"):
                    colour, bold = "#c9d1d9", False
                elif number == "1":
                    colour, bold = COLOURS["1"], True
                elif number in COLOURS:
                    colour = COLOURS[number]
        elif part and left > 0:
            shown = part[:left]
            left -= len(shown)
            yield shown, colour, bold


def main():
    source, target = sys.argv[1], sys.argv[2]
    lines = open(source, encoding="utf-8").read().splitlines()
    if len(sys.argv) > 3:
        parts = []
        for part in sys.argv[3].split(","):
            first, last = part.split("-")
            parts += (["\x1b[2m  …\x1b[0m"] if parts else []) + lines[int(first) - 1:int(last)]
        lines = parts
    height = len(lines) * LINE + 2 * PAD + 22
    width = int(WIDTH * CHAR + 2 * PAD)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
           f'<rect width="{width}" height="{height}" rx="8" fill="#0d1117"/>']
    for index, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        out.append(f'<circle cx="{PAD + 4 + index * 18}" cy="18" r="5.5" fill="{colour}"/>')
    out.append('<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace" font-size="13" xml:space="preserve">')
    for number, line in enumerate(lines):
        x, y = float(PAD), PAD + 26 + number * LINE
        row = []
        for text, colour, bold in spans(line):
            weight = ' font-weight="bold"' if bold else ""
            row.append(f'<tspan x="{x:.1f}" textLength="{len(text) * CHAR:.1f}" lengthAdjust="spacingAndGlyphs" fill="{colour}"{weight}>{html.escape(text)}</tspan>')
            x += len(text) * CHAR
        if row:
            out.append(f'<text y="{y}">{"".join(row)}</text>')
    out.append("</g></svg>")
    open(target, "w", encoding="utf-8").write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
