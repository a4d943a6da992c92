"""How a report looks: on a wide screen and a narrow one, light and dark, and on paper."""

# Figures are drawn on white and stay so: in the dark they lie on a card of paper.
STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1c1c1e; --faint: #5f5f66; --paper: #ffffff; --raised: #f5f5f7; --line: #d9d9de; --link: #1f5f86;
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --faint: #a9a9b2; --paper: #17181b; --raised: #212226; --line: #3b3c42; --link: #8cc4e8; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; scroll-padding-top: 1rem; }
body {
  margin: 0 auto; max-width: 66rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 1.25rem; text-wrap: balance; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 0 0 .75rem; }
p { margin: 0 0 1rem; max-width: 42rem; overflow-wrap: break-word; }
a { color: var(--link); text-underline-offset: .15em; }
a:focus-visible, [tabindex]:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
dl {
  display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .35rem 1.25rem; margin: 0;
  padding: 1rem 1.25rem; background: var(--raised); font-size: .925rem;
}
dt { color: var(--faint); }
dd { margin: 0; white-space: pre-line; overflow-wrap: anywhere; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
code { font: .9em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
nav { margin: 1.75rem 0 0; }
nav h2 { font-size: 1rem; margin-bottom: .4rem; }
nav ol { margin: 0; padding-left: 1.5rem; columns: 16rem; }
nav li { break-inside: avoid; padding: .1rem 0; }
.legend { margin: 1.25rem 0 0; color: var(--faint); font-size: .875rem; }
section { margin-top: 2.5rem; padding-top: 1.75rem; border-top: 1px solid var(--line); }
.table, .picture { overflow-x: auto; max-width: 100%; }
.table { margin: 1.5rem 0; }
table { border-collapse: collapse; font-size: .9rem; }
caption, figcaption { color: var(--faint); font-size: .9rem; text-align: left; line-height: 1.4; }
caption { padding-bottom: .5rem; width: max-content; max-width: min(42rem, 100vw - 2.5rem); position: sticky; left: 0; }
caption b, figcaption b { color: var(--ink); }
th, td { padding: .35rem .75rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
thead th { vertical-align: bottom; border-bottom: 2px solid var(--line); }
tbody tr { background: var(--paper); }
tbody tr:hover { background: var(--raised); }
tbody th { font-weight: 500; position: sticky; left: 0; background: inherit; }
tbody th:not(.number) { min-width: 6rem; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums lining-nums; }
thead .number { white-space: normal; }
figure { margin: 1.5rem 0; }
figcaption { margin-top: .5rem; max-width: 42rem; }
.picture { width: fit-content; padding: .5rem; background: #ffffff; border: 1px solid var(--line); }
.picture, dl { border-radius: .5rem; }
img { display: block; max-width: 100%; height: auto; }
@media (max-width: 36rem) {
  body { padding: 1.25rem .9rem 3rem; }
  h1 { font-size: 1.5rem; }
  dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .6rem; }
  th, td { padding: .3rem .5rem; }
}
@media print {
  :root { --ink: #000000; --faint: #444444; --paper: #ffffff; --raised: #ffffff; --line: #bbbbbb; --link: #000000; }
  @page { margin: 1.8cm; }
  html { font-size: 9.5pt; }
  body { max-width: none; padding: 0; }
  p, figcaption { max-width: none; }
  nav { display: none; }
  dl { border: 1px solid var(--line); }
  section { margin-top: 1.5rem; padding-top: 1rem; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  .table, .picture { overflow: visible; }
  .picture { border: 0; padding: 0; }
  .picture img { min-width: 0 !important; max-height: 22cm; object-fit: contain; object-position: left; }
  table { font-size: .8rem; }
  th, td { padding: .2rem .4rem; }
  .number { white-space: normal; }
  thead { display: table-header-group; }
}
"""
