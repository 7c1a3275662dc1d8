"""How the page looks and how it draws its figures: style sheet and script, written out."""

from __future__ import annotations

CSS = """
:root { color-scheme: light dark; --ground: #ffffff; --card: #f6f7f9; --ink: #1d2127; --soft: #59616b;
  --rule: #d9dde2; --ours: #2f7ec7; --alike: #c8701a; --other: #7d858e; --good: #1c7c4a; --bad: #b3372f; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15181c; --card: #1e2227; --ink: #e7eaee; --soft: #a3abb5; --rule: #363c44; --good: #5fc48d;
    --bad: #ef8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, 'Segoe UI',
  Roboto, 'DejaVu Sans', sans-serif; overflow-wrap: anywhere; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 24px 56px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .3rem; }
h3 { font-size: 1rem; margin: 0 0 .2rem; }
p { margin: .3rem 0 .8rem; max-width: 75ch; }
.soft, caption, figcaption { color: var(--soft); font-size: .9rem; }
.kicker { color: var(--soft); font-size: .85rem; letter-spacing: .04em; margin: 0 0 .3rem; }
.verdict { font-size: 1.1rem; border-left: 4px solid var(--ours); padding-left: .8rem; margin: 1rem 0; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 1.2rem 0; }
.tile { background: var(--card); border-radius: 8px; padding: 12px 14px; }
.tile b { display: block; font-size: 1.45rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.tile span { display: block; color: var(--soft); font-size: .85rem; }
.frontier { display: grid; grid-template-columns: minmax(0, 1fr) minmax(210px, 260px); gap: 20px; align-items: start; }
.key { list-style: none; margin: 8px 0 0; padding: 0; font-size: .88rem; columns: 1; }
.key li { display: flex; gap: 8px; padding: 2px 0; break-inside: avoid; }
.key i { flex: 0 0 22px; text-align: center; font-style: normal; font-weight: 600; }
.ours { color: var(--ours); } .alike { color: var(--alike); }
.levels { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 22px 18px; }
.levels figure { margin: 0; min-width: 0; }
.drawn { overflow: hidden; min-width: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; font-variant-numeric: tabular-nums; }
th { text-align: left; font-weight: 600; color: var(--soft); font-size: .82rem; vertical-align: bottom; }
th, td { padding: 6px 14px 6px 0; border-bottom: 1px solid var(--rule); }
td { vertical-align: top; }
td.n, th.n { text-align: right; white-space: nowrap; }
td.w { white-space: nowrap; } .n + .w { padding-left: 14px; }
tr.first td { font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
code { font: .88em ui-monospace, SFMono-Regular, Menlo, 'DejaVu Sans Mono', monospace; }
.mix { margin: 0 0 4px; }
.bar { display: block; height: 8px; border-radius: 4px; background: var(--rule); overflow: hidden; min-width: 80px; }
td > .bar:only-child { margin-top: 8px; }
.bar > span { display: block; height: 100%; background: var(--ours); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 18px;
  font-size: .92rem; margin: .4rem 0; }
dt { color: var(--soft); } dd { margin: 0; }
.two { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 0 32px; }
.js-plotly-plot .plotly text:not(.legendtext) { fill: var(--ink) !important; }
.js-plotly-plot .plotly .hoverlayer text { fill: #ffffff !important; }
.js-plotly-plot .plotly .hoverlayer path { fill: #2b3138 !important; stroke: #2b3138 !important; }
@media (max-width: 760px) {
  main { padding: 18px 14px 40px; }
  .frontier { grid-template-columns: minmax(0, 1fr); gap: 4px; }
  .key { columns: 2 150px; }
  .stack thead { display: none; }
  .stack, .stack tbody, .stack tr, .stack td { display: block; }
  .stack tr { padding: 8px 0; border-bottom: 1px solid var(--rule); }
  .stack td, .stack .n, .stack .n + .w { border: 0; padding: 1px 0; text-align: left; white-space: normal; }
  .stack td:first-child { font-weight: 600; }
  .stack td .soft { font-weight: 400; }
  .stack td[data-name]::before { content: attr(data-name) ": "; color: var(--soft); font-weight: 400; }
  .stack td:empty { display: none; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; } dd { margin: 0 0 6px; }
}
@media print { .modebar { display: none; } body { font-size: 12px; } figure, table, .tile { break-inside: avoid; } }
"""

SCRIPT = """
(function () {
  var figures = JSON.parse(document.getElementById('figures').textContent);
  Object.keys(figures).forEach(function (id) {
    var place = document.getElementById(id);
    Plotly.newPlot(place, figures[id].data, figures[id].layout, {displayModeBar: false, doubleClick: 'reset'});
    // The place may change its width without the window doing so, as a grid does.
    var width = place.clientWidth;
    new ResizeObserver(function () {
      if (place.clientWidth !== width) { width = place.clientWidth; Plotly.Plots.resize(place); }
    }).observe(place);
  });
})();
"""
