"""A spec that accepts like machines, learned from their inventories, and the odd ones out."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from edeploylib.accept import Accepted, accept_all, accept_most, exactly, is_plain
from edeploylib.errors import SearchLimitExceeded, printable
from edeploylib.inventory import Inventory
from edeploylib.match import match
from edeploylib.spec import Spec
from edeploylib.traits import (
    CARD,
    CHOSEN,
    DISK,
    DRIVE,
    OF_DEVICES,
    Trait,
    aligned,
    devices,
    is_stable,
    order_of,
    scalars,
    texts_of,
)
from edeploylib.units import UNITS, decimal

_SERIAL = Trait('system', 'product', 'serial')
_VARIABLES = {DISK: 'disk', DRIVE: 'drive', CARD: 'eth'}
_SHARE = 0.8


@dataclass(frozen=True)
class Oddity:
    """Machines, by index, that have another text than the rest; None: they have none."""

    what: str
    found: str | None
    machines: tuple[int, ...]
    usual: str
    usual_count: int


@dataclass(frozen=True)
class LearnedRule:
    """Four terms, and why they are there."""

    terms: tuple[str, str, str, str]
    reason: str = ''


@dataclass(frozen=True)
class Lesson:
    """``alike`` and ``odd`` are indices of inventories; ``dropped`` says what varies too much.

    ``refused`` are like machines that the spec refuses and ``accepted`` odd
    ones that it accepts: both are empty if all is well.
    """

    rules: tuple[LearnedRule, ...]
    alike: tuple[int, ...]
    odd: tuple[int, ...]
    oddities: tuple[Oddity, ...]
    dropped: tuple[str, ...]
    refused: tuple[int, ...] = ()
    accepted: tuple[int, ...] = ()

    @property
    def spec(self) -> Spec:
        return Spec.of([rule.terms for rule in self.rules])

    def render(self, head: Iterable[str] = ()) -> str:
        """The text of a .specs file; its comments say why each rule is there."""
        notes = [*head, *(f'Left out: {what}.' for what in self.dropped)]
        lines = [f'# {printable(note)}' for note in notes]
        lines.append('[')
        before = ''
        for rule in self.rules:
            if rule.reason != before:
                lines.append(f'    # {printable(rule.reason)}')
            before = rule.reason
            lines.append(f'    {rule.terms!r},')
        return '\n'.join([*lines, ']']) + '\n'


class _Machines:
    """The traits of all machines, as they are compared."""

    def __init__(self, inventories: Sequence[Inventory], share: float) -> None:
        self.count = len(inventories)
        self.share = share
        self.may_be_odd = int((1 - share) * self.count + 1e-9)
        self.odd: set[int] = set()
        self.oddities: list[Oddity] = []
        its = [devices(inventory) for inventory in inventories]
        self.slots = {kind: self._slots(kind, [one[kind] for one in its]) for kind in OF_DEVICES}
        lined_up = {kind: aligned(kind, [one[kind] for one in its]) for kind in OF_DEVICES}
        self.texts = [
            texts_of(
                scalars(inventory),
                {kind: lined_up[kind][index] for kind in OF_DEVICES},
                self.slots,
            )
            for index, inventory in enumerate(inventories)
        ]

    def _slots(self, kind: str, its: Sequence[Sequence[object]]) -> int:
        """How many devices of a kind they have; machines with another number may be odd."""
        counts = Counter(map(len, its))
        usual, most = counts.most_common(1)[0]
        others = {index for index, one in enumerate(its) if len(one) != usual}
        if not others:
            return usual
        if most < self.share * self.count or len(self.odd | others) > self.may_be_odd:
            return min(counts)
        self.odd |= others
        for number in sorted(counts.keys() - {usual}):
            which = tuple(index for index, one in enumerate(its) if len(one) == number)
            what = f'number of {"cards" if kind == CARD else f"{kind}s"}'
            self.oddities.append(Oddity(what, str(number), which, repr(str(usual)), most))
        return usual

    def counts(self, trait: Trait) -> dict[str | None, int]:
        return Counter(
            texts.get(trait) for index, texts in enumerate(self.texts) if index not in self.odd
        )

    def others(self, trait: Trait, accepted: Accepted) -> set[int]:
        """The machines, not odd already, that an expression does not accept."""
        return {
            index
            for index, texts in enumerate(self.texts)
            if index not in self.odd and texts.get(trait) not in accepted.texts
        }

    def _has_device(self, index: int, trait: Trait) -> bool:
        """Whether the machine has the device at all: that it has not is told by their number."""
        mine = {(one.kind, one.name) for one in self.texts[index]}
        return not trait.kind or (trait.kind, trait.name) in mine

    def note(self, trait: Trait, accepted: Accepted) -> None:
        """Tell of all machines that are odd in this trait."""
        having: dict[str | None, list[int]] = {}
        usual = 0
        for index, texts in enumerate(self.texts):
            text = texts.get(trait)
            if text in accepted.texts:
                usual += 1
            elif index in self.odd and (text is not None or self._has_device(index, trait)):
                having.setdefault(text, []).append(index)
        for text, which in having.items():
            self.oddities.append(Oddity(str(trait), text, tuple(which), accepted.words, usual))


def learn(
    inventories: Sequence[Inventory], share: float = _SHARE, everything: bool = False
) -> Lesson:
    """What at least this share of the machines has in common.

    A machine is odd that differs where so many agree; it counts no further.
    ``everything``: all stable facts, not those alone that people tell machines
    by. The spec is tried on every machine by the matcher itself.
    """
    if not inventories:
        raise ValueError('expected an inventory to learn from')
    machines = _Machines(inventories, share)
    traits = order_of(
        trait
        for trait in dict.fromkeys(trait for texts in machines.texts for trait in texts)
        if _is_wanted(trait, everything)
    )
    _find_odd(machines, traits)
    rules, dropped = _rules(machines, traits)
    odd = tuple(sorted(machines.odd))
    alike = tuple(index for index in range(len(inventories)) if index not in machines.odd)
    lesson = Lesson(tuple(rules), alike, odd, tuple(machines.oddities), tuple(dropped))
    lesson = _tried(lesson, inventories)
    if lesson.accepted:
        # Odd in what a spec cannot say, such as one more disk; perhaps in more.
        lesson, _ = refuse(lesson, inventories, [inventories[index] for index in lesson.accepted])
    return lesson


def _is_wanted(trait: Trait, everything: bool) -> bool:
    chosen = trait.property in OF_DEVICES[trait.kind] if trait.kind else trait[:3] in CHOSEN
    return chosen or (everything and is_stable(*trait[:3]) and all(map(is_plain, trait[:3])))


def _find_odd(machines: _Machines, traits: Sequence[Trait]) -> None:
    """Those first that fewest differ in: as many may be odd as the share leaves."""
    found = {}
    for trait in traits:
        accepted = accept_most(machines.counts(trait), machines.share)
        if accepted is not None:
            found[trait] = accepted
    for trait in sorted(found, key=lambda trait: len(machines.others(trait, found[trait]))):
        others = machines.others(trait, found[trait])
        if len(machines.odd | others) <= machines.may_be_odd:
            machines.odd |= others


def _rules(machines: _Machines, traits: Sequence[Trait]) -> tuple[list[LearnedRule], list[str]]:
    """A rule for each trait that those that are not odd share, and what varies too much."""
    rules: list[LearnedRule] = []
    dropped = []
    serials = machines.counts(_SERIAL)
    if None not in serials and all(count == 1 for count in serials.values()):
        rules.append(LearnedRule((*_SERIAL[:3], '$serial'), 'Each machine has its own.'))
    found: dict[Trait, Accepted] = {}
    for trait in traits:
        counts = machines.counts(trait)
        texts = [text for text in counts if text is not None]
        accepted = accept_all(texts) if texts and len(texts) == len(counts) else None
        if accepted is not None:
            found[trait] = accepted
            machines.note(trait, accepted)
        elif len(texts) == len(counts):
            dropped.append(f'{trait} has {len(texts)} values')
        elif texts:
            dropped.append(f'{_have(counts[None])} no {trait}')
    rules += (_rule(machines, trait, found[trait]) for trait in found if not trait.kind)
    for kind in OF_DEVICES:
        for number in range(machines.slots[kind]):
            its = [trait for trait in found if (trait.kind, trait.name) == (kind, str(number))]
            rules += _device_rules(machines, kind, number, its, found)
    return rules, dropped


def _rule(machines: _Machines, trait: Trait, accepted: Accepted) -> LearnedRule:
    name = trait.name
    if trait.kind:
        name = _variable(_VARIABLES[trait.kind], machines.slots[trait.kind], int(trait.name))
    return LearnedRule(
        (trait.category, name, trait.property, accepted.term), _reason(machines, trait, accepted)
    )


def _reason(machines: _Machines, trait: Trait, accepted: Accepted) -> str:
    alike = machines.count - len(machines.odd)
    if len(accepted.texts) == 1:
        size = _human(trait, next(iter(accepted.texts)))
        return f'All {alike} agree{size}.' if alike > 1 else f'As the one machine has it{size}.'
    counts = machines.counts(trait)
    each = sorted(accepted.texts, key=lambda text: (-counts[text], text))
    shown = ', '.join(f'{_have(counts[text])} {text!r}' for text in each[:4])
    return f'{shown}{f" and {len(each) - 4} more values" if len(each) > 4 else ""}.'


def _have(count: int) -> str:
    return '1 has' if count == 1 else f'{count} have'


def _human(trait: Trait, text: str) -> str:
    """What a number of bytes is, if it is a round one."""
    number = decimal(text)
    if trait.category != 'memory' or trait.property != 'size' or not isinstance(number, int):
        return ''
    gibibytes, rest = divmod(number, UNITS['GiB'])
    return f'; the size is {gibibytes} GiB' if not rest else ''


def _device_rules(
    machines: _Machines,
    kind: str,
    number: int,
    traits: Sequence[Trait],
    found: dict[Trait, Accepted],
) -> Iterable[LearnedRule]:
    """The rules of one device, tied by the variable of its name."""
    rules = [_rule(machines, trait, found[trait]) for trait in traits]
    count = machines.slots[kind]
    title = f'{kind.capitalize() if kind != CARD else "Card"} {number} of {count}'
    if kind == CARD:
        eth, mac = _variable('eth', count, number), _variable('mac', count, number)
        rules.append(LearnedRule((CARD, eth, 'serial', mac)))
        address = Trait(CARD, str(number), 'ipv4', CARD)
        # Of several cards, it may boot by another the next time.
        if count == 1 and None not in machines.counts(address):
            # Not $ip, which a CMDB entry may have: a variable wins.
            dhcp = _variable('dhcp', count, number)
            rules.append(LearnedRule((CARD, eth, 'ipv4', dhcp)))
    varying = [
        rule.reason
        for rule, trait in zip(rules, traits, strict=False)
        if len(found[trait].texts) > 1
    ]
    reason = '; '.join([title, *varying]).rstrip('.') + '.'
    if any(rule.terms[2] == 'ipv4' for rule in rules):
        reason += ' It had the address when it was detected.'
    return [replace(rule, reason=reason) for rule in rules]


def _variable(name: str, count: int, number: int) -> str:
    return f'${name}' if count == 1 else f'${name}{number}'


def accepts(spec: Spec, inventory: Inventory) -> bool:
    """Whether the matcher finds a match, and so does not give up."""
    try:
        return match(spec, inventory) is not None
    except SearchLimitExceeded:
        return False


def _tried(lesson: Lesson, inventories: Sequence[Inventory]) -> Lesson:
    spec = lesson.spec
    return replace(
        lesson,
        refused=tuple(i for i in lesson.alike if not accepts(spec, inventories[i])),
        accepted=tuple(i for i in lesson.odd if accepts(spec, inventories[i])),
    )


def refuse(
    lesson: Lesson,
    inventories: Sequence[Inventory],
    others: Sequence[Inventory],
    told: Callable[[int], None] = lambda count: None,
) -> tuple[Lesson, tuple[int, ...]]:
    """The lesson with rules that refuse other machines too, and those it accepts still.

    Rules are added only where the like machines agree and another does not.
    """
    left = [index for index, other in enumerate(others) if accepts(lesson.spec, others[index])]
    alike = [inventories[index] for index in lesson.alike]
    while left:
        told(len(left))
        best = max(
            _distinguishing(alike, [others[index] for index in left]),
            key=lambda one: len(one[1]),
            default=None,
        )
        if best is None or not best[1]:
            break
        names = ', '.join(others[left[number]].sysname for number in best[1][:3])
        more = f' and {len(best[1]) - 3} more' if len(best[1]) > 3 else ''
        rule = LearnedRule(best[0], f'Refuses {names}{more}.')
        lesson = _tried(replace(lesson, rules=(*lesson.rules, rule)), inventories)
        left = [index for index in left if accepts(lesson.spec, others[index])]
    return lesson, tuple(left)


def _distinguishing(
    alike: Sequence[Inventory], others: Sequence[Inventory]
) -> Iterable[tuple[tuple[str, str, str, str], list[int]]]:
    """Rules that all like machines satisfy, with the others that do not."""
    its = [scalars(inventory) for inventory in alike]
    theirs = [{(*fact[:3], str(fact[3])) for fact in other.facts} for other in others]
    for trait, text in its[0].items():
        if not (is_stable(*trait[:3]) and all(map(is_plain, trait[:3]))):
            continue
        if all(one.get(trait) == text for one in its):
            accepted = exactly([text])
            lacking = [n for n, facts in enumerate(theirs) if (*trait[:3], text) not in facts]
            if accepted is not None and lacking:
                yield (*trait[:3], accepted.term), lacking
