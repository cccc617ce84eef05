"""The style sheet of the doctor's page: light and dark, without anything from the network."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa;
  --ink: #1d1d20;
  --quiet: #6b6b72;
  --rule: #dedee2;
  --card: #ffffff;
  --error: #b3261e;
  --warning: #9a6200;
  --note: #4a5a78;
  --right: #0072b2;
  --left: #d55e00;
  --middle: #555;
  --bar: #2078d8;
}

@media (prefers-color-scheme: dark) {
  :root {
    --paper: #17171a;
    --ink: #ececef;
    --quiet: #9b9ba4;
    --rule: #37373d;
    --card: #202024;
    --error: #ff8a80;
    --warning: #f5bf5b;
    --note: #a9bde0;
    --right: #56b4e9;
    --left: #ff9248;
    --middle: #c4c4cc;
    --bar: #4c9cf0;
  }
}

* { box-sizing: border-box; }
body {
  margin: 0 auto;
  padding: 2rem 1.5rem 4rem;
  max-width: 72rem;
  background: var(--paper);
  color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif;
}

h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
.quiet, figcaption { color: var(--quiet); }
code { font-size: .85em; overflow-wrap: anywhere; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td {
  padding: .3rem .9rem .3rem 0;
  text-align: right;
  border-bottom: 1px solid var(--rule);
  white-space: nowrap;
  font-weight: 400;
}
th:first-child { text-align: left; }
thead th { color: var(--quiet); }
td.hit { font-weight: 700; color: var(--warning); }
td.own { color: var(--quiet); }

.finding {
  background: var(--card);
  border: 1px solid var(--rule);
  border-left: 5px solid var(--note);
  border-radius: 6px;
  padding: .8rem 1.1rem;
  margin: .7rem 0;
}
.finding.error { border-left-color: var(--error); }
.finding.warning { border-left-color: var(--warning); }
.finding h3 { margin: 0; }
.finding p { margin: .2rem 0; max-width: none; overflow-wrap: anywhere; }
.error b, .error .tag { color: var(--error); }
.warning .tag { color: var(--warning); }
.note .tag { color: var(--note); }
.tag {
  font-size: .8rem;
  font-weight: 700;
  letter-spacing: .04em;
  text-transform: uppercase;
  margin-right: .5rem;
}
details { margin-top: .3rem; font-size: .85rem; }
summary { cursor: pointer; color: var(--quiet); }
details p { overflow-wrap: anywhere; }

figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--quiet); font: 11px system-ui, sans-serif; text-anchor: middle; }

.shape { max-width: 900px; }
.shape text { fill: var(--ink); }
.histogram { max-width: 760px; }
.heat { border: 0; }
.cells { image-rendering: pixelated; }

.right { fill: var(--right); }
.left { fill: var(--left); }
.middle { fill: var(--middle); }
.bar { fill: var(--bar); }
.line { stroke: var(--quiet); stroke-width: 1.2; }
.pair {
  stroke: var(--quiet);
  stroke-opacity: .35;
  stroke-width: 1;
  fill: none;
  stroke-dasharray: 4 4;
}
.mirror { fill: none; stroke: var(--ink); stroke-opacity: .55; stroke-width: 1; }
.axis { stroke: var(--quiet); stroke-width: 1; fill: none; }
.heat .axis, .heat .pair {
  vector-effect: non-scaling-stroke;
  stroke-width: 1.5;
  stroke-opacity: 1;
}

.face { border-radius: 4px; background: #000; }
.face circle { stroke: #000; stroke-width: .6; }
.face .right { fill: #56b4e9; }
.face .left { fill: #ff9248; }
.face .middle { fill: #fff; }
.face .hidden { fill: #0008; stroke-width: 1; }
.face .hidden.right { stroke: #56b4e9; }
.face .hidden.left { stroke: #ff9248; }
.face .hidden.middle { stroke: #fff; }
.edge { stroke: #fff; stroke-opacity: .45; stroke-width: .7; }
.box { fill: none; stroke: #ffe14d; stroke-width: 1; stroke-dasharray: 4 3; }

.faces {
  display: grid;
  grid-template-columns: repeat(auto-fill, minmax(150px, 1fr));
  gap: .8rem;
}
.faces figcaption {
  font-size: .75rem;
  line-height: 1.35;
  overflow-wrap: anywhere;
  margin-top: .25rem;
}
.faces b { color: var(--error); }
.none {
  aspect-ratio: 1;
  border: 1px dashed var(--rule);
  padding: .5rem;
  font-size: .75rem;
  overflow: hidden;
  overflow-wrap: anywhere;
}

.pairs { display: flex; flex-wrap: wrap; gap: 2rem; }
.pairs > figure { flex: 1 1 260px; max-width: 360px; }

.dot {
  display: inline-block;
  width: .7em;
  height: .7em;
  border-radius: 50%;
  margin: 0 .25em 0 .6em;
}
"""
