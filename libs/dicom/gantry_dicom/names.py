r"""Person names in the form in which they are compared (PS3.5 6.2.1.1, PS3.4 C.2.2.2.1).

``fold_name`` gives both what the index stores and what a search is compared with:

1. Values are cut into component groups at ``=`` (at most three: alphabetic, ideographic,
   phonetic) and groups into components at ``^``.
2. Each component: compatibility decomposition (NFKD), case folding, removal of accents
   (combining marks of class 10-36 and 200 and above: Latin, Greek, Cyrillic, Hebrew and Arabic
   marks; marks that make another letter, as kana voicing or Thai vowels, stay), Latin letters
   without decomposition by ``_LETTERS`` (ł to l, ø to o, æ to ae), canonical composition
   (NFC), control and format characters dropped, white space runs made one space and removed
   at both ends.
3. ``^``, ``=`` or ``\\`` that come out of a compatibility character become a space.
4. Trailing empty components and groups are dropped; the rest is joined by ``^`` and ``=``.

Folding twice changes nothing. ``*`` and ``?`` pass through, so a pattern is folded with the
same function; ``name_matches`` says what matching means: a pattern matches a stored name if it
matches the whole of it or a run of its component groups. In SQL, with ``p`` the folded pattern
as a LIKE pattern and ``n`` the stored form: ``'=' || n || '=' LIKE '%=' || p || '=%'``.
"""

from __future__ import annotations

import unicodedata

# Letters that Unicode does not decompose, as PostgreSQL's unaccent maps them too.
_LETTERS = str.maketrans(
    {
        "ł": "l",
        "ø": "o",
        "đ": "d",
        "ð": "d",
        "ħ": "h",
        "ŧ": "t",
        "ı": "i",
        "æ": "ae",
        "œ": "oe",
        "þ": "th",
        "ŋ": "n",
        "ĸ": "k",
        "ƀ": "b",
        "ɨ": "i",
        "ƶ": "z",
        # Turkish and German capitals fold to these.
        "ß": "ss",
    }
)
_DELIMITERS = str.maketrans(dict.fromkeys("^=\\", " "))


def fold_name(text: str) -> str:
    """Return the form of the PN value (or pattern) ``text`` that names are compared in."""
    groups = [_fold_group(group) for group in text.split("=", 2)]
    while groups and not groups[-1]:
        groups.pop()
    return "=".join(groups)


def name_matches(folded_name: str, folded_pattern: str) -> bool:
    """Tell whether a folded pattern matches a folded name, or a run of its component groups."""
    groups = folded_name.split("=")
    runs = ("=".join(groups[i:j]) for i in range(len(groups)) for j in range(i + 1, len(groups) + 1))
    return any(_matches(run, folded_pattern) for run in runs)


def _matches(text: str, pattern: str) -> bool:
    """Match ``*`` and ``?`` without backtracking further than the last ``*``."""
    position = at = 0
    star = -1
    retry = 0
    while position < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, retry = at, position
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[position]):
            at += 1
            position += 1
        elif star >= 0:
            retry += 1
            position, at = retry, star + 1
        else:
            return False
    return not pattern[at:].strip("*")


def _fold_group(group: str) -> str:
    components = [_fold_component(component) for component in group.split("^")]
    while components and not components[-1]:
        components.pop()
    return "^".join(components)


def _fold_component(component: str) -> str:
    if component.isascii():
        folded = component.lower().translate(_DELIMITERS)
        if not folded.isprintable():
            folded = "".join(filter(_is_kept, folded))
    else:
        decomposed = unicodedata.normalize("NFKD", component).casefold()
        decomposed = unicodedata.normalize("NFKD", decomposed).casefold().translate(_LETTERS)
        kept = "".join(filter(_is_kept, decomposed.translate(_DELIMITERS)))
        folded = unicodedata.normalize("NFC", kept)
    return " ".join(folded.split())


def _is_kept(character: str) -> bool:
    combining_class = unicodedata.combining(character)
    if 10 <= combining_class <= 36 or combining_class >= 200:
        return False
    return character.isspace() or unicodedata.category(character) not in ("Cc", "Cf", "Cs")
