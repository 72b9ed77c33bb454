"""The form of a review: every accepted asset, two words to choose from, a note.

The form works without its script, which adds keys, a large view, and saves each word at once.
"""

from collections.abc import Sequence

from flows.review.review import MAX_NOTE_CHARS, Review, undecided
from gan.assets.manifest import BatchCard, Row
from gan.assets.page import text, thumb
from gan.assets.page_style import STYLE
from gan.assets.sheet import page_order
from gan.assets.thumbnails import cell_at

_STYLE = """
main { max-width: 1320px; padding-top: 0; }
.bar { position: sticky; top: 0; z-index: 2; display: flex; flex-wrap: wrap; gap: 8px 14px;
  align-items: center; margin: 0 -24px 18px; padding: 12px 24px; background: var(--paper);
  border-bottom: 1px solid var(--rule); }
.bar h1 { font-size: 20px; flex: 1 1 auto; } .bar output { color: var(--faded); }
button { font: inherit; font-size: 14px; padding: 5px 14px; border-radius: 8px; cursor: pointer;
  border: 1px solid var(--rule); background: var(--card); color: var(--ink); }
button.go { background: var(--accent); border-color: var(--accent); color: var(--on-accent); }
button:focus-visible, .a:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.desk { display: grid; grid-template-columns: minmax(0, 1fr) 340px; gap: 20px; }
.large { position: sticky; top: 76px; align-self: start; }
.large .shown { display: block; width: 100%; height: 340px; object-fit: contain;
  border-radius: 12px; border: 1px solid var(--rule);
  background: repeating-conic-gradient(var(--board) 0 25%, var(--square) 0 50%) 0 0 / 20px 20px; }
kbd { font: 12px ui-monospace, Menlo, Consolas, monospace; border: 1px solid var(--rule);
  border-bottom-width: 2px; border-radius: 5px; padding: 0 5px; background: var(--card); }
.large table { margin-top: 12px; font-size: 13px; } .large td, .large th { padding: 4px 8px 4px 0; }
.a { contain-intrinsic-size: auto 132px auto 230px; scroll-margin: 90px 0 20px; }
.a:has(input[value=reject]:checked) { border-color: var(--alarm); }
.a:has(input[value=reject]:checked) .t { opacity: .35; }
.a:has(input[value=accept]:checked) { border-color: var(--good); }
.words { display: grid; grid-template-columns: 1fr 1fr; gap: 4px; margin: 5px 0; }
.words label { position: relative; } .words input { position: absolute; opacity: 0; }
.words span { display: block; text-align: center; padding: 2px 0; border-radius: 7px;
  border: 1px solid var(--rule); cursor: pointer; }
.words input:focus-visible + span { outline: 2px solid var(--accent); }
.words input[value=accept]:checked + span { background: var(--good); color: var(--card); }
.words input[value=reject]:checked + span { background: var(--alarm); color: var(--card); }
.a input[type=text] { width: 100%; font: inherit; font-size: 12.5px; padding: 3px 7px;
  border: 1px solid var(--rule); border-radius: 7px; background: var(--paper);
  color: var(--ink); }
.a.at { outline: 3px solid var(--accent); outline-offset: 1px; }
.assets { grid-template-columns: repeat(auto-fill, minmax(148px, 1fr)); }
@media (max-width: 900px) { .desk { grid-template-columns: minmax(0, 1fr); }
  .large { display: none; } }
@media (max-width: 640px) { .bar { margin: 0 -14px 14px; padding: 10px 14px; }
  .assets { grid-template-columns: 1fr 1fr; } .words span { padding: 7px 0; } }
"""
_SCRIPT = """
const form = document.forms[0], figures = [...document.querySelectorAll('.a')];
const shown = document.querySelector('.shown'), out = document.querySelector('output');
let at = -1, waiting = Promise.resolve();
function tell() {
  const left = figures.filter(f => !f.querySelector('input:checked')).length;
  const no = figures.filter(f => f.querySelector('[value=reject]:checked')).length;
  out.value = `${figures.length - left} of ${figures.length} decided, ${no} rejected`;
}
function go(to) {
  if (to < 0 || to >= figures.length) return;
  if (at >= 0) figures[at].classList.remove('at');
  at = to;
  const f = figures[at];
  f.classList.add('at');
  f.scrollIntoView({block: 'nearest'});
  shown.src = f.dataset.file;
  document.querySelector('#class').textContent = f.dataset.class;
  document.querySelector('#asset').textContent = f.dataset.asset;
}
function save(fields) {
  const post = {method: 'POST', body: new URLSearchParams(fields),
    headers: {Accept: 'application/json'}};
  waiting = waiting.then(() => fetch(form.action, post)).then(r => { if (!r.ok) throw r.status; })
    .catch(() => { out.value = 'Not saved: is the command still running?'; });
}
function say(f, word) {
  const box = f.querySelector(`[value=${word}]`);
  box.checked = true;
  save({[box.name]: word});
  tell();
}
figures.forEach((f, i) => f.addEventListener('pointerdown', () => go(i)));
form.addEventListener('change', e => { save({[e.target.name]: e.target.value}); tell(); });
addEventListener('keydown', e => {
  if (e.target.type === 'text') { if (e.key === 'Escape' || e.key === 'Enter') {
    e.preventDefault(); e.target.blur(); } return; }
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const wide = Math.max(1, figures.findIndex(f => f.offsetTop !== figures[0].offsetTop));
  const step = {ArrowRight: 1, ArrowLeft: -1, ArrowDown: wide, ArrowUp: -wide}[e.key];
  if (step) { e.preventDefault(); go(at < 0 ? 0 : at + step); }
  else if (at >= 0 && (e.key === 'a' || e.key === 'r')) {
    say(figures[at], e.key === 'a' ? 'accept' : 'reject'); go(at + 1); }
  else if (at >= 0 && e.key === 'n') {
    e.preventDefault(); figures[at].querySelector('[type=text]').focus(); }
});
tell();
if (figures.length) go(0);
"""
_KEYS = (
    ("&larr; &uarr; &darr; &rarr;", "go to another asset"),
    ("a", "accept it, and go on"),
    ("r", "reject it, and go on"),
    ("n", "write a note; Enter ends it"),
)


def form_page(
    card: BatchCard, rows: Sequence[Row], review: Review | None, nonce: str, says: str = ""
) -> str:
    """Return the form; its addresses are relative to the one that it is served under.

    Args:
        card: Of the batch.
        rows: Its accepted assets.
        review: What was said so far.
        nonce: That the server's policy lets the script run by.
        says: A sentence above the assets, as plain text.
    """
    place = {row.asset: number for number, row in enumerate(page_order(rows))}
    by_class = sorted(rows, key=lambda row: (row.class_, row.ordinal))
    figures = "\n".join(_figure(row, place.get(row.asset), review) for row in by_class)
    left, count = len(undecided(rows, review)), len(rows)
    keys = "".join(f"<tr><td><kbd>{key}</kbd></td><td>{does}</td></tr>" for key, does in _KEYS)
    told = f'<p class="box note">{text(says)}</p>\n' if says else ""
    body = (
        '<form method="post" action="decide" autocomplete="off">\n<div class="bar">'
        f"<h1>{text(card.recipe)} <code>{text(card.batch)}</code></h1>"
        f"<output>{count - left:,} of {count:,} decided</output>"
        '<button name="save" value="1">Save</button>'
        '<button name="rest" value="accept">Accept all undecided</button>'
        '<button class="go" name="done" value="1">Done</button></div>\n'
        f'{told}<div class="desk"><div class="assets">\n{figures}\n</div>\n'
        '<aside class="large"><img class="shown" alt="The chosen asset, large">'
        '<p><b id="class"></b> <code id="asset"></code></p>'
        f"<table>{keys}</table><p class='faded'>Each word is saved at once. Close the page and "
        "come back to it as often as you like; Done ends the command.</p></aside></div>\n</form>\n"
    )
    return _document(f"Review {card.batch}", body, nonce)


def end_page(card: BatchCard, review: Review) -> str:
    """Return what is shown when the review is over."""
    words = list(review.decisions.values())
    body = (
        f"<h1 style='padding-top:36px'>Thank you</h1><p>{words.count('accept'):,} accepted, "
        f"{words.count('reject'):,} rejected, kept as the word of "
        f"<b>{text(review.reviewer)}</b>. You may close this page.</p>"
    )
    return _document(f"Review {card.batch}", body, None)


def _figure(row: Row, place: int | None, review: Review | None) -> str:
    """Return one asset with its two words and its note."""
    said = review.decisions.get(row.asset) if review else None
    note = review.notes.get(row.asset, "") if review else ""
    first = f"files/{row.files[0].path}"
    alt = f"Synthetic image, {row.class_}"
    picture = (
        thumb(cell_at(place), alt, "files/")
        if place is not None
        else f'<img src="{text(first)}" loading="lazy" width="128" alt="{text(alt)}">'
    )
    words = "".join(
        f'<label><input type="radio" name="word-{row.asset}" value="{word}"'
        f"{' checked' if said == word else ''}><span>{word}</span></label>"
        for word in ("accept", "reject")
    )
    return (
        f'<figure class="a" data-file="{text(first)}" data-class="{text(row.class_)}" '
        f'data-asset="{row.asset}">{picture}<figcaption><b>{text(row.class_)}</b>'
        f'<div class="words">{words}</div><input type="text" name="note-{row.asset}" '
        f'maxlength="{MAX_NOTE_CHARS}" placeholder="note" aria-label="Note on this asset" '
        f'value="{text(note)}"></figcaption></figure>'
    )


def _document(title: str, body: str, nonce: str | None) -> str:
    script = f'<script nonce="{nonce}">{_SCRIPT}</script>\n' if nonce else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{body}</main>\n{script}</body>\n</html>\n"
    )
