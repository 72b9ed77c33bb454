"""The looks of the pages of a batch: the static one, and the form that a person reviews it in."""

STYLE = """
:root { color-scheme: light dark; --paper: #f5f6f9; --card: #fff; --ink: #1f2430; --faded: #5d6577;
  --rule: #e1e5ed; --accent: #5b3df5; --on-accent: #fff; --alarm: #b93815; --good: #14764a;
  --square: #e9ebf0; --board: #fff; }
@media screen and (prefers-color-scheme: dark) { :root { --paper: #14161c; --card: #1d2029;
  --ink: #eceef4; --faded: #a3abbd; --rule: #2f3542; --accent: #a796ff; --on-accent: #16131f;
  --alarm: #ff9a6b; --good: #5fd39b; --square: #d4d8e0; --board: #eef0f4; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 64px; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 36px 24px 64px; }
h1 { margin: 0; font-size: 27px; line-height: 1.25; letter-spacing: -0.02em; }
h1 code { font-size: 19px; color: var(--faded); font-weight: 400; letter-spacing: 0; }
h2 { margin: 36px 0 10px; font-size: 18px; }
h2 small { color: var(--faded); font-weight: 400; margin-left: 6px; font-size: 14px; }
h1, h2, td, th, code, dd { overflow-wrap: anywhere; }
p { margin: 8px 0; max-width: 80ch; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
code, pre { font: 12.5px/1.6 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
small, .faded { color: var(--faded); }
.lead { margin: 6px 0 20px; color: var(--faded); }
.alarm { color: var(--alarm); } .good { color: var(--good); }
.box, dl { background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 14px 20px; margin: 0 0 16px; }
.box p:first-child { margin-top: 0; } .box p:last-child, .box ul:last-child { margin-bottom: 0; }
.box.note { border-left: 4px solid var(--alarm); } .box ul { margin: 0; padding-left: 18px; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(210px, 1fr)); gap: 14px 24px; }
dl div { min-width: 0; } dt { color: var(--faded); font-size: 12.5px; } dd { margin: 0; }
.scroll { overflow-x: auto; }
.scroll td, .scroll th { white-space: nowrap; } .scroll td:last-child { white-space: normal; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: 6px 18px 6px 0; text-align: left; vertical-align: top; }
tr + tr > *, tbody > tr:first-child > * { border-top: 1px solid var(--rule); }
thead th { color: var(--faded); font-size: 13px; font-weight: 600; }
tbody th { font-weight: 600; } td.n, th.n { text-align: right; }
pre { margin: 4px 0 10px; white-space: pre-wrap; overflow-wrap: anywhere; }
details.part { margin: 0 0 16px; } details.part > summary { cursor: pointer; font-weight: 600;
  padding: 4px 0 8px; } .part .box { margin-top: 4px; }
.filters { position: sticky; top: 0; z-index: 2; margin: 24px -24px 0; padding: 10px 24px;
  background: var(--paper); border-bottom: 1px solid var(--rule); max-height: 40vh;
  overflow-y: auto; }
.filters fieldset { display: flex; flex-wrap: wrap; gap: 6px; align-items: center; border: 0;
  margin: 0; padding: 3px 0; min-width: 0; }
.filters legend { float: left; width: 84px; color: var(--faded); font-size: 13px; padding: 0; }
.chip { position: relative; } .chip input { position: absolute; opacity: 0; }
.chip span { display: inline-block; padding: 2px 11px; border: 1px solid var(--rule);
  border-radius: 99px; background: var(--card); font-size: 13px; cursor: pointer;
  white-space: nowrap; }
.chip small { margin-left: 5px; }
.chip input:checked + span { background: var(--accent); border-color: var(--accent);
  color: var(--on-accent); } .chip input:checked + span small { color: inherit; opacity: .8; }
.chip input:focus-visible + span { outline: 2px solid var(--accent); outline-offset: 2px; }
.assets { display: grid; grid-template-columns: repeat(auto-fill, minmax(132px, 1fr)); gap: 12px; }
.a { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  overflow: hidden; content-visibility: auto; contain-intrinsic-size: auto 132px auto 172px; }
.a:target { outline: 3px solid var(--accent); }
.t { display: block; position: relative; overflow: hidden; aspect-ratio: 1;
  background: repeating-conic-gradient(var(--board) 0 25%, var(--square) 0 50%) 0 0 / 16px 16px; }
.t img { position: absolute; width: 800%; height: 800%; max-width: none;
  left: calc(var(--x) * -100%); top: calc(var(--y) * -100%); }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1px; background: var(--rule); }
.pair figcaption, .pair em { grid-column: 1 / -1; }
.wide { grid-column: span 2; contain-intrinsic-size: auto 276px auto 220px; }
.a figcaption { padding: 5px 10px 8px; font-size: 12.5px; line-height: 1.45; }
.a figcaption b { display: block; font-size: 12.5px; overflow-wrap: anywhere; }
.a summary { cursor: pointer; color: var(--faded); list-style-position: outside;
  margin-left: 12px; } .a summary code { font-size: 12px; }
.a details[open] { padding-bottom: 2px; } .a details a { margin-right: 6px; }
.why { display: block; color: var(--faded); }
footer { margin-top: 48px; color: var(--faded); font-size: 13px; }
@media (max-width: 640px) { main { padding: 22px 14px 48px; } h1 { font-size: 22px; }
  .box, dl { padding: 12px 14px; } dl { grid-template-columns: 1fr 1fr; gap: 10px 14px; }
  .filters { margin: 18px -14px 0; padding: 6px 14px; }
  .filters fieldset { flex-wrap: nowrap; overflow-x: auto; scrollbar-width: none; }
  .filters legend { width: auto; flex: none; padding-right: 4px; }
  .assets { grid-template-columns: repeat(auto-fill, minmax(96px, 1fr)); gap: 8px; }
  .a figcaption { padding: 4px 7px 6px; } }
@media print { body { background: none; font-size: 11px; } main { padding: 0; max-width: none; }
  .filters, details.part:not([open]) { display: none; } .a, tr, .box { break-inside: avoid; }
  .a { content-visibility: visible; } h2 { break-after: avoid; }
  .assets { grid-template-columns: repeat(8, 1fr); gap: 6px; } .t { print-color-adjust: exact; } }
"""
