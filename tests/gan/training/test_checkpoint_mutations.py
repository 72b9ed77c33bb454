"""A thousand damaged checkpoints: each is passed over with a line or refused, and changes nothing.

Half are damaged as disks and people do it. The other half carry a digest that fits, as a file of
another training or another program may: there the checks behind the digest have to find it.
"""

import hashlib
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from gan.errors import DamagedError, GanmillError
from gan.training.checkpoint import FORMAT, State, restore_checkpoint, save_checkpoint

_COUNT = 1000
_REFUSED = r"all 1 checkpoints are damaged|has format .*; this ganmill reads format"
_NAME = "checkpoint-000000000128.ckpt"
_BAD_VALUES: list[Any] = [None, True, -1, 1.5, "7", [], [1], {}, {"a": 1}, float("nan"), 10**400]
_ALLOWED: dict[str, list[Any]] = {  # what is no damage, by field
    "seconds": [1.5, 10**400],
    "attempt": [10**400],
    "gamma": [None, 1.5],
    "boost": [-1, 1.5],
    "watch": [{}, {"a": 1}],
    "best": [{}],
}


def _state(seed: int, nimg: int, width: int = 3) -> State:
    torch.manual_seed(seed)
    networks: dict[str, nn.Module] = {name: nn.Linear(width, 2) for name in ("G", "D", "G_ema")}
    optimizers = {n: torch.optim.Adam(networks[n].parameters(), fused=True) for n in "GD"}
    for name, optimizer in optimizers.items():
        networks[name](torch.randn(4, width)).sum().backward()
        optimizer.step()
    return State(networks, optimizers, nimg, float(nimg))


def _content(state: State) -> list[object]:
    weights = [w.tolist() for n in state.networks.values() for w in n.state_dict().values()]
    slots = [slot for o in state.optimizers.values() for slot in o.state.values()]
    moments = [slot[name].tolist() for slot in slots for name in sorted(slot)]
    return [*weights, *moments, state.nimg, state.seconds, state.watch, state.best]


def _sealed(payload: bytes) -> bytes:
    return hashlib.sha256(payload).hexdigest().encode() + b"\n" + payload


def _flip(whole: bytes, place: random.Random) -> bytes:
    bit = place.randrange(8 * len(whole))
    flipped = bytearray(whole)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def _cut(whole: bytes, place: random.Random) -> bytes:
    return whole[: place.randrange(len(whole))]


def _garbage(whole: bytes, place: random.Random) -> bytes:
    return place.randbytes(place.choice([0, 1, 65, len(whole)]))


def _overwrite(whole: bytes, place: random.Random) -> bytes:
    begin = place.randrange(len(whole))
    length = place.randint(1, 600)
    return whole[:begin] + b"\0" * length + whole[begin + length :] + b"\0"


def _lengthen(whole: bytes, place: random.Random) -> bytes:
    return whole + place.randbytes(place.randint(1, 100))


def _parts(whole: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    payload = whole[65:]
    header = json.loads(payload[8 : 8 + int.from_bytes(payload[:8], "little")])
    return load(payload), json.loads(header["__metadata__"]["state"])


def _rebuilt(tensors: dict[str, Tensor], record: object) -> bytes:
    return _sealed(save(tensors, {"state": json.dumps(record)}))


def _foreign_tensors(whole: bytes, place: random.Random) -> bytes:
    """Drop, add, rename, reshape or cast a tensor."""
    tensors, record = _parts(whole)
    name = place.choice(sorted(tensors))
    value = tensors.pop(name)
    change = place.randrange(5)
    if change == 1:
        tensors |= {
            name: value,
            place.choice(["x", "G/x", "adam G/9/step", "adam X"]): value.clone(),
        }
    elif change == 2:
        tensors[name + place.choice(["x", "/x", " "])] = value
    elif change == 3:
        tensors[name] = place.choice([value[None], torch.cat([value.reshape(-1)] * 2)])
    elif change == 4:
        tensors[name] = value.to(place.choice([torch.float64, torch.bfloat16, torch.int64]))
    return _rebuilt(tensors, record)


def _foreign_record(whole: bytes, place: random.Random) -> bytes:
    """Drop, add or rename a plain value, or give it another type."""
    tensors, record = _parts(whole)
    name = place.choice(sorted(record))
    change = place.randrange(4)
    if change == 0:
        record.pop(name)
    elif change == 1:
        record["extra"] = 1
    elif change == 2:
        record[name + "s"] = record.pop(name)
    else:
        bad = [value for value in _BAD_VALUES if value not in _ALLOWED.get(name, [])]
        record[name] = place.choice(bad)
    return _rebuilt(tensors, record)


def _foreign_header(whole: bytes, place: random.Random) -> bytes:
    """Seal what is no safetensors file, or holds no record."""
    tensors, record = _parts(whole)
    texts = ["", "null", "[]", "1", '"x"', "{", "[" * 100_000, '{"format": []}', "\ud800"]
    payloads = [
        save(tensors),
        save(tensors, {"other": json.dumps(record)}),
        save(tensors, {"state": place.choice(texts[:-1])}),
        whole[65 + 8 :],
        b"\xff" * 8 + whole[65 + 8 :],
        _cut(whole[65:], place),
        place.randbytes(200),
        b"PK\x03\x04" + place.randbytes(50),
    ]
    return _sealed(place.choice(payloads))


def _other_training(whole: bytes, place: random.Random) -> bytes:
    """Take a whole checkpoint of networks of another width, or of another moment."""
    del whole
    folder = Path(place.choice(_OTHERS))
    return folder.read_bytes()


_OTHERS: list[str] = []
_DAMAGES: list[Callable[[bytes, random.Random], bytes]] = [
    _flip,
    _cut,
    _garbage,
    _overwrite,
    _lengthen,
    _foreign_tensors,
    _foreign_tensors,
    _foreign_record,
    _foreign_header,
    _other_training,
]


@pytest.fixture(autouse=True)
def _others(tmp_path: Path) -> Iterator[None]:
    other = save_checkpoint(tmp_path / "other", _state(4, 128, width=5))
    later = save_checkpoint(tmp_path / "later", _state(5, 192))
    _OTHERS[:] = [str(other), str(later)]
    yield
    _OTHERS.clear()


def test_a_thousand_damaged_checkpoints_are_all_noticed(tmp_path: Path) -> None:
    """Each is named in one line, and training goes on from the whole one before it.

    Where it is the only one, the training stops instead of starting anew, and the networks that it
    should have filled are as they were.
    """
    older = _state(1, 64)
    folder, alone = tmp_path / "run", tmp_path / "alone"
    save_checkpoint(folder, older)
    whole = save_checkpoint(folder, _state(2, 128)).read_bytes()
    alone.mkdir()
    target = _state(3, 0)
    before = _content(target)
    refused = 0
    for number in range(_COUNT):
        place = random.Random(number)  # noqa: S311  # a sample, not a secret
        damage = _DAMAGES[number % len(_DAMAGES)]
        damaged = damage(whole, place)
        if damaged == whole:  # a cut or a value that changed nothing
            continue
        (alone / _NAME).write_bytes(damaged)
        with pytest.raises(GanmillError, match=_REFUSED) as caught:
            restore_checkpoint(alone, target)
        assert _content(target) == before, f"{damage.__name__} {number}"

        (folder / _NAME).write_bytes(damaged)
        resumed = _state(3, 0)
        if "has format" in str(caught.value):
            refused += 1
            with pytest.raises(GanmillError, match="has format"):
                restore_checkpoint(folder, resumed)
            assert _content(resumed) == before
            continue
        (note,) = restore_checkpoint(folder, resumed)
        assert note.startswith(f"{folder / _NAME}: "), f"{damage.__name__} {number}"
        assert len(note.splitlines()) == 1
        assert _content(resumed) == _content(older)
    assert 0 < refused < 20


def test_every_bit_of_the_beginning_counts(tmp_path: Path) -> None:
    """The digest, the length and the record have no bit that may change unnoticed."""
    path = save_checkpoint(tmp_path, _state(1, 128))
    whole = path.read_bytes()
    for bit in range(8 * 75):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(DamagedError):
            restore_checkpoint(tmp_path, _state(3, 0))


@pytest.mark.parametrize("found", [1, FORMAT + 1])
def test_another_format_is_refused_not_passed_over(tmp_path: Path, found: int) -> None:
    """A newer ganmill's work is not quietly undone by an older one: the line says what to do."""
    save_checkpoint(tmp_path, _state(1, 64))
    path = save_checkpoint(tmp_path, _state(2, 128))
    tensors, record = _parts(path.read_bytes())
    record["format"] = found
    if found == 1:
        del record["format"]  # the first format had no number
    path.write_bytes(_rebuilt(tensors, record))
    target = _state(3, 0)
    before = _content(target)

    said = rf"format {found}; this ganmill reads format {FORMAT}\. Go on with the ganmill"
    with pytest.raises(GanmillError, match=said):
        restore_checkpoint(tmp_path, target)
    assert _content(target) == before
